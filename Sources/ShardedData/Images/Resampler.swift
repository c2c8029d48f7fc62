import Interfaces

/// Cuts boxes out of images and resizes them, keeping its scratch memory from one to the next.
///
/// The two passes run interleaved: four rows at a time are spread to Float, four lanes a pixel,
/// and resized horizontally into a ring of as many rows as the vertical filter spans; an output row
/// is made as soon as its rows are there. So everything stays in the first two caches.
///
/// Not for use from two threads at once.
final class Resampler {
  private let columns = ResampleTable()
  private let rows = ResampleTable()
  private let lastRow = ScratchBuffer<UInt8>()
  private let spread = ScratchBuffer<Float>()
  private let ring = ScratchBuffer<Float>()
  private let ringRows = ScratchBuffer<UnsafePointer<Float>>()
  private let output = ScratchBuffer<UInt8>()

  /// Resizes a box of an image, mirrored first if asked for.
  ///
  /// The result is that of Pillow's `crop` and `resize`: a pass over columns and one over rows,
  /// each rounded to 8 bits; the filter does not reach over the pixels that the box touches. Sums
  /// are Float, so that about one value in 10^4 differs by one step from Pillow's.
  ///
  /// - Parameters:
  ///   - source: Of 1 to 4 channels.
  ///   - box: In pixels of the image before mirroring.
  ///   - isFlipped: The result is the mirrored box.
  ///   - window: The part of the resized box that is wanted; nil: all.
  /// - Returns: `[window height, window width]` pixels of 4 bytes, of which the source's channels
  ///   are defined. Valid until the next call.
  func resize(
    _ source: PixelView, box: SourceBox, isFlipped: Bool = false, toWidth: Int, toHeight: Int,
    window: CropBox? = nil, filter: ResampleFilter
  ) -> PixelView {
    precondition(
      source.channels <= PixelView.groupSize, "resizing \(source.channels) channels at once")
    let window = window ?? CropBox(left: 0, top: 0, width: toWidth, height: toHeight)
    let touched = source.pixels(of: box)
    columns.fill(
      ResampleAxis(
        inputSize: touched.width,
        start: isFlipped
          ? Double(touched.left + touched.width) - box.left - box.width
          : box.left - Double(touched.left),
        length: box.width, outputSize: toWidth,
        wanted: window.left..<window.left + window.width), filter: filter)
    rows.fill(
      ResampleAxis(
        inputSize: touched.height, start: box.top - Double(touched.top), length: box.height,
        outputSize: toHeight, wanted: window.top..<window.top + window.height), filter: filter)
    run(RowReader(source, touched: touched, isFlipped: isFlipped, inputs: columns.inputs))
    return PixelView(
      pointer: UnsafePointer(output.pointer), width: window.width, height: window.height,
      channels: source.channels, pixelStride: 4)
  }

  private func run(_ reader: RowReader) {
    let (width, tapCount) = (columns.count, rows.tapCount)
    let inputs = rows.inputs
    // A whole number of 8 lanes, so that the vertical pass has no remainder.
    let rowLanes = (width * 4 + 7) / 8 * 8
    let capacity = (tapCount + 3 + 3) / 4 * 4
    let ring = ring.reserve(capacity * rowLanes)
    let sources = ringRows.reserve(tapCount)
    let spreadPixels = columns.inputs.count + columns.tapCount
    let spread = spread.reserve(spreadPixels * 16)
    // Taps of weight zero may lie beyond the last pixel.
    (spread + columns.inputs.count * 16).update(repeating: 0, count: columns.tapCount * 16)
    let last = reader.copyOfLastRow(into: lastRow)
    // Rows are stored 32 bytes at a time.
    let output = output.reserve(rows.count * width * 4 + 32)
    var done = inputs.lowerBound
    for row in 0..<rows.count {
      let (first, count) = (Int(rows.first[row]), Int(rows.taps[row]))
      while done < first + count {
        reader.spread(rows: done, limit: inputs.upperBound, last: last, into: spread)
        let slot = (done - inputs.lowerBound) % capacity
        ResampleKernels.horizontal(
          spread, table: columns, output: ring + slot * rowLanes, rowLanes: rowLanes)
        done += 4
      }
      for tap in 0..<count {
        let slot = (first + tap - inputs.lowerBound) % capacity
        sources[tap] = UnsafePointer(ring + slot * rowLanes)
      }
      ResampleKernels.vertical(
        sources, count: count, weights: rows.weights + row * tapCount, lanes: rowLanes,
        output: output + row * width * 4)
    }
  }
}

extension PixelView {
  /// The whole pixels that a box touches.
  func pixels(of box: SourceBox) -> CropBox {
    let left = max(Int(box.left.rounded(.down)), 0)
    let top = max(Int(box.top.rounded(.down)), 0)
    let right = min(Int((box.left + box.width).rounded(.up)), width)
    let bottom = min(Int((box.top + box.height).rounded(.up)), height)
    precondition(
      left < right && top < bottom, "\(box) does not lie in an image of \(height) x \(width)")
    return CropBox(left: left, top: top, width: right - left, height: bottom - top)
  }
}
