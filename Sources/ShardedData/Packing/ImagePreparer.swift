import Interfaces
import JPEGCodec

/// Makes of a source's image what a shard stores. Not for use from two threads at once.
final class ImagePreparer {
  private let format: PackOptions.Format
  /// For files: everything is decoded once, so that nothing is packed that cannot be read.
  private let decoder: ImageDecoder
  private let resampler = Resampler()
  private let channels: Int

  /// - Parameter channels: Of raw images.
  init(_ format: PackOptions.Format, channels: Int) {
    self.format = format
    self.channels = channels
    decoder = ImageDecoder(channels: channels)
  }

  /// - Throws: `ShardError.badSource`, with the image's key, where it cannot be decoded.
  func prepare(_ image: ImageContent, key: String) throws(ShardError) -> ImageContent {
    switch (format, image) {
    case (.encoded(let side, let quality), .file(let bytes)):
      return .file(try encoded(bytes, key: key, side: side, quality: quality))
    case (.raw(let size, _), .file(let bytes)):
      return raw(try decode(bytes, key: key, needed: nil).pixels, size: size)
    case (.raw(let size, _), .pixels(let pixels, let shape)):
      guard size == nil || shape.channels <= PixelView.groupSize else {
        throw .badSource(
          path: key, reason: "images of \(shape.channels) channels cannot be resized")
      }
      if size == nil || (shape.height == size && shape.width == size) {
        return .pixels(pixels, shape)
      }
      return pixels.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else { preconditionFailure("an image without pixels") }
        return raw(PixelView(base, shape: shape), size: size)
      }
    case (.encoded, .pixels):
      throw .badSource(
        path: key,
        reason: "it is pixels, which are packed raw; use --size instead of --resize-shorter")
    }
  }

  /// The file as it is, or made smaller.
  private func encoded(
    _ bytes: [UInt8], key: String, side: Int?, quality: Int
  ) throws(ShardError) -> [UInt8] {
    let size = try decoding(key) { () throws(ImageError) in
      try bytes.withUnsafeBufferPointer { (buffer) throws(ImageError) in
        try decoder.size(of: UnsafeRawBufferPointer(buffer))
      }
    }
    guard let side, min(size.width, size.height) > side else {
      _ = try decode(bytes, key: key, needed: nil)
      return bytes
    }
    let fit = Fit(width: size.width, height: size.height, size: side)
    let region = try decode(bytes, key: key, needed: (fit.width, fit.height))
    let resized = resampler.resize(
      region.pixels, box: region.box, isFlipped: false, toWidth: fit.width, toHeight: fit.height,
      window: nil, filter: .bicubic)
    do throws(JPEGError) {
      return try JPEGEncoder.encode(
        resized.pointer, width: fit.width, height: fit.height,
        pixelStride: resized.pixelStride, quality: quality)
    } catch {
      throw .badSource(path: key, reason: error.description)
    }
  }

  private func raw(_ pixels: PixelView, size: Int?) -> ImageContent {
    let whole = SourceBox(
      left: 0, top: 0, width: Double(pixels.width), height: Double(pixels.height))
    guard let size else { return ImageContent.pixels(of: pixels) }
    let fit = Fit(width: pixels.width, height: pixels.height, size: size)
    return ImageContent.pixels(
      of: resampler.resize(
        pixels, box: whole, isFlipped: false, toWidth: fit.width, toHeight: fit.height,
        window: fit.window, filter: .bicubic))
  }

  private func decode(
    _ bytes: [UInt8], key: String, needed: (width: Int, height: Int)?
  ) throws(ShardError) -> DecodedRegion {
    try decoding(key) { () throws(ImageError) in
      try bytes.withUnsafeBufferPointer { (buffer) throws(ImageError) in
        try decoder.decode(UnsafeRawBufferPointer(buffer), box: nil, needed: needed)
      }
    }
  }

  private func decoding<Result>(
    _ key: String, _ body: () throws(ImageError) -> Result
  ) throws(ShardError) -> Result {
    do throws(ImageError) { return try body() } catch {
      throw .badSource(path: key, reason: error.description)
    }
  }
}

extension ImageContent {
  /// A copy of pixels without padding.
  fileprivate static func pixels(of view: PixelView) -> ImageContent {
    let shape = ImageShape(height: view.height, width: view.width, channels: view.channels)
    let bytes = [UInt8](unsafeUninitializedCapacity: shape.byteCount) { buffer, count in
      for pixel in 0..<view.width * view.height {
        for channel in 0..<view.channels {
          buffer[pixel * view.channels + channel] = view.pointer[pixel * view.pixelStride + channel]
        }
      }
      count = shape.byteCount
    }
    return .pixels(bytes, shape)
  }
}
