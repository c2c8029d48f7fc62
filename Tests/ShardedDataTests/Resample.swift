import Interfaces

@testable import ShardedData

/// Resampling of whole images without padding, as tests want it.
enum Resample {
  /// Cuts a box out of an image, mirrored first if asked for, and resizes it.
  ///
  /// Two passes, horizontal then vertical, each rounded to 8 bits: what Pillow's `crop` and
  /// `resize` give, but for single steps of 8 bits in about one value of 10^4 (versions before 13;
  /// since then Pillow runs the vertical pass first for some sizes). Only pixels of the box are
  /// looked at: the filter does not reach over its border.
  ///
  /// - Parameters:
  ///   - pixels: `[height, width, channels]`.
  ///   - box: In pixels of the image after the flip; nil takes all.
  /// - Returns: `[toHeight, toWidth, channels]`.
  static func resized(
    _ pixels: [UInt8], shape: ImageShape, box: CropBox? = nil, isFlipped: Bool = false,
    toWidth: Int, toHeight: Int, filter: ResampleFilter
  ) -> [UInt8] {
    precondition(pixels.count == shape.byteCount, "\(pixels.count) bytes for \(shape)")
    var box = box ?? CropBox(left: 0, top: 0, width: shape.width, height: shape.height)
    if isFlipped { box = box.mirrored(inWidth: shape.width) }
    let resampler = Resampler()
    var result = [UInt8](repeating: 0, count: toWidth * toHeight * shape.channels)
    pixels.withUnsafeBufferPointer { pixels in
      guard let base = pixels.baseAddress else { preconditionFailure("an image without pixels") }
      let source = PixelView(base, shape: shape)
      for first in stride(from: 0, to: shape.channels, by: PixelView.groupSize) {
        let resized = resampler.resize(
          source.channelGroup(from: first), box: SourceBox(box), isFlipped: isFlipped,
          toWidth: toWidth, toHeight: toHeight, filter: filter)
        for pixel in 0..<toWidth * toHeight {
          for channel in 0..<resized.channels {
            result[pixel * shape.channels + first + channel] =
              resized.pointer[pixel * resized.pixelStride + channel]
          }
        }
      }
    }
    return result
  }
}
