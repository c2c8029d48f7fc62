public import Interfaces

/// Antialiased separable resampling of 8-bit images.
///
/// Two passes, horizontal then vertical, with a rounding to 8 bits after each and the weights of
/// `ResampleTable`: the arithmetic of Pillow's `resize`, with which pictures agree to the bit
/// (versions before 13; since then Pillow runs the vertical pass first for some sizes).
public enum Resample {
  private static let half: Int32 = 1 << (ResampleTable.fractionBits - 1)

  /// Cuts a box out of an image, mirrored first if asked for, and resizes it.
  ///
  /// Only pixels of the box are looked at: the filter does not reach over its border.
  ///
  /// - Parameters:
  ///   - pixels: `[height, width, channels]`.
  ///   - box: In pixels of the image after the flip; nil takes all.
  /// - Returns: `[toHeight, toWidth, channels]`.
  public static func resized(
    _ pixels: [UInt8], shape: ImageShape, box: CropBox? = nil, isFlipped: Bool = false,
    toWidth: Int, toHeight: Int, filter: ResampleFilter
  ) -> [UInt8] {
    precondition(pixels.count == shape.byteCount, "\(pixels.count) bytes for \(shape)")
    let box = box ?? CropBox(left: 0, top: 0, width: shape.width, height: shape.height)
    let resampler = Resampler()
    let planes = pixels.withUnsafeBufferPointer { source -> UnsafePointer<UInt8> in
      guard let base = source.baseAddress else { preconditionFailure("an image without pixels") }
      resampler.crop(base, shape: shape, draw: AugmentationDraw(isFlipped: isFlipped, box: box))
      return resampler.resize(toWidth: toWidth, toHeight: toHeight, filter: filter)
    }
    let planeSize = toWidth * toHeight
    // The planes are memory of the resampler.
    return withExtendedLifetime(resampler) {
      [UInt8](unsafeUninitializedCapacity: planeSize * shape.channels) { result, count in
        for channel in 0..<shape.channels {
          for pixel in 0..<planeSize {
            result[pixel * shape.channels + channel] = planes[channel * planeSize + pixel]
          }
        }
        count = planeSize * shape.channels
      }
    }
  }

  /// `output[r, o] = sum over taps of input[r, first(o) + t] x weight(o, t)` for each row.
  ///
  /// - Parameters:
  ///   - input: `[rows, table.inputSize]`.
  ///   - output: `[rows, table.outputSize]`.
  static func horizontal(
    _ input: UnsafePointer<UInt8>, rows: Int, table: borrowing ResampleTable,
    output: UnsafeMutablePointer<UInt8>
  ) {
    let (inputSize, outputSize, stride) = (table.inputSize, table.outputSize, table.stride)
    table.weights.withUnsafeBufferPointer { weights in
      table.taps.withUnsafeBufferPointer { taps in
        for row in 0..<rows {
          let source = input + row * inputSize
          let target = output + row * outputSize
          for index in 0..<outputSize {
            let (first, count) = taps[index]
            var sum = half
            for tap in 0..<Int(count) {
              sum &+= Int32(source[Int(first) + tap]) &* weights[index * stride + tap]
            }
            target[index] = clamped(sum)
          }
        }
      }
    }
  }

  /// `output[o, c] = sum over taps of input[first(o) + t, c] x weight(o, t)` for each column.
  ///
  /// - Parameters:
  ///   - input: `[table.inputSize, columns]`.
  ///   - output: `[table.outputSize, columns]`.
  ///   - sums: Scratch, `[columns]`.
  static func vertical(
    _ input: UnsafePointer<UInt8>, columns: Int, table: borrowing ResampleTable,
    output: UnsafeMutablePointer<UInt8>, sums: UnsafeMutablePointer<Int32>
  ) {
    let stride = table.stride
    table.weights.withUnsafeBufferPointer { weights in
      for (index, taps) in table.taps.enumerated() {
        for column in 0..<columns { sums[column] = half }
        for tap in 0..<Int(taps.count) {
          let weight = weights[index * stride + tap]
          let source = input + (Int(taps.first) + tap) * columns
          for column in 0..<columns { sums[column] &+= Int32(source[column]) &* weight }
        }
        let target = output + index * columns
        for column in 0..<columns { target[column] = clamped(sums[column]) }
      }
    }
  }

  private static func clamped(_ sum: Int32) -> UInt8 {
    UInt8(truncatingIfNeeded: min(max(sum >> ResampleTable.fractionBits, 0), 255))
  }
}
