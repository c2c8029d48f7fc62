import Interfaces

/// Cuts crops and resizes them, keeping its scratch memory from one sample to the next.
///
/// Not for use from two threads at once.
final class Resampler {
  private let cropped = ScratchBuffer<UInt8>()
  private let widened = ScratchBuffer<UInt8>()
  private let resized = ScratchBuffer<UInt8>()
  private let sums = ScratchBuffer<Int32>()
  private var channels = 0
  private var box = CropBox(left: 0, top: 0, width: 0, height: 0)

  /// Takes the box of a mirrored or plain image as the input of the next `resize` calls.
  ///
  /// - Parameter image: `[height, width, channels]`; not used after the call.
  func crop(_ image: UnsafePointer<UInt8>, shape: ImageShape, draw: AugmentationDraw) {
    box = draw.box
    channels = shape.channels
    precondition(
      box.left >= 0 && box.top >= 0 && box.width > 0 && box.height > 0
        && box.left + box.width <= shape.width && box.top + box.height <= shape.height,
      "\(box) does not lie in an image of \(shape)")
    let planeSize = box.width * box.height
    let target = cropped.reserve(planeSize * channels)
    // Planes, so that the passes below are the same for any number of channels.
    let start = draw.isFlipped ? shape.width - 1 - box.left : box.left
    let step = draw.isFlipped ? -channels : channels
    for channel in 0..<channels {
      for row in 0..<box.height {
        let source = image + ((box.top + row) * shape.width + start) * channels + channel
        let line = target + channel * planeSize + row * box.width
        for column in 0..<box.width { line[column] = source[column * step] }
      }
    }
  }

  /// The crop at another size.
  ///
  /// - Returns: `[channels, toHeight, toWidth]`, valid until the next call.
  func resize(toWidth: Int, toHeight: Int, filter: ResampleFilter) -> UnsafePointer<UInt8> {
    let rows = channels * box.height
    var planes = UnsafePointer(cropped.pointer)
    if toWidth != box.width {
      let table = ResampleTable(inputSize: box.width, outputSize: toWidth, filter: filter)
      let output = widened.reserve(rows * toWidth)
      Resample.horizontal(planes, rows: rows, table: table, output: output)
      planes = UnsafePointer(output)
    }
    if toHeight != box.height {
      let table = ResampleTable(inputSize: box.height, outputSize: toHeight, filter: filter)
      let output = resized.reserve(channels * toHeight * toWidth)
      let sums = sums.reserve(toWidth)
      for channel in 0..<channels {
        Resample.vertical(
          planes + channel * box.height * toWidth, columns: toWidth, table: table,
          output: output + channel * toHeight * toWidth, sums: sums)
      }
      planes = UnsafePointer(output)
    }
    return planes
  }
}
