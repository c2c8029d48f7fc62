/// Decoded pixels of 8 bits in somebody else's memory: `[height, width]` pixels of `pixelStride`
/// bytes, of which the first `channels` count.
struct PixelView {
  let pointer: UnsafePointer<UInt8>
  let width: Int
  let height: Int
  /// 1 to `pixelStride`.
  let channels: Int
  /// Bytes from a pixel to the next: 4 where a decoder pads three colours.
  let pixelStride: Int

  /// Bytes from a row to the next.
  var rowStride: Int { width * pixelStride }

  /// Pixels without padding, `[height, width, channels]`.
  init(_ pointer: UnsafePointer<UInt8>, shape: ImageShape) {
    self.init(
      pointer: pointer, width: shape.width, height: shape.height, channels: shape.channels,
      pixelStride: shape.channels)
  }

  init(
    pointer: UnsafePointer<UInt8>, width: Int, height: Int, channels: Int, pixelStride: Int
  ) {
    self.pointer = pointer
    self.width = width
    self.height = height
    self.channels = channels
    self.pixelStride = pixelStride
  }
}

extension PixelView {
  /// Channels that are resized at once.
  static let groupSize = 4

  /// The view of up to four channels from `first` on.
  func channelGroup(from first: Int) -> PixelView {
    PixelView(
      pointer: pointer + first, width: width, height: height,
      channels: min(channels - first, PixelView.groupSize), pixelStride: pixelStride)
  }
}

/// A rectangle of an image whose edges may lie inside pixels, as after decoding at reduced size.
struct SourceBox: Equatable {
  var left: Double
  var top: Double
  var width: Double
  var height: Double
}

extension SourceBox {
  init(_ box: CropBox) {
    self.init(
      left: Double(box.left), top: Double(box.top), width: Double(box.width),
      height: Double(box.height))
  }
}
