/// Makes pixels of stored samples, whatever their form. Not for use from two threads at once.
final class SampleDecoder {
  /// Made with the first file: raw images may have any number of channels, files 1 or 3.
  private lazy var decoder = ImageDecoder(channels: channels)
  private let channels: Int
  private let planes = ScratchBuffer<UInt8>()

  /// - Parameter channels: Of decoded images, 1 or 3; raw ones keep theirs.
  init(channels: Int) {
    self.channels = channels
  }

  /// Width and height of the image, without decoding it.
  func size(of sample: StoredSample) throws(ShardError) -> (width: Int, height: Int) {
    switch sample.form {
    case .interleaved(let shape), .planar(let shape): return (shape.width, shape.height)
    case .encoded:
      return try decoding(sample) { () throws(ImageError) in try decoder.size(of: sample.bytes) }
    }
  }

  /// The pixels of at least a box of the image, valid until the next call.
  ///
  /// - Parameters:
  ///   - box: nil: all.
  ///   - needed: The largest size that the box will be resized to: a JPEG is decoded at reduced size
  ///     where twice that is left in both directions. nil: never.
  func region(
    of sample: StoredSample, box: CropBox?, needed: (width: Int, height: Int)?
  ) throws(ShardError) -> DecodedRegion {
    switch sample.form {
    case .encoded:
      return try decoding(sample) { () throws(ImageError) in
        try decoder.decode(sample.bytes, box: box, needed: needed)
      }
    case .interleaved(let shape):
      return DecodedRegion(
        pixels: PixelView(pointer(of: sample), shape: shape), box: sourceBox(box, shape))
    case .planar(let shape):
      return DecodedRegion(
        pixels: interleaved(pointer(of: sample), shape), box: sourceBox(box, shape))
    }
  }

  private func sourceBox(_ box: CropBox?, _ shape: ImageShape) -> SourceBox {
    SourceBox(box ?? CropBox(left: 0, top: 0, width: shape.width, height: shape.height))
  }

  private func pointer(of sample: StoredSample) -> UnsafePointer<UInt8> {
    guard let base = sample.bytes.baseAddress else { preconditionFailure("a sample without bytes") }
    return base.assumingMemoryBound(to: UInt8.self)
  }

  /// `[C, H, W]` to `[H, W, C]`.
  private func interleaved(_ source: UnsafePointer<UInt8>, _ shape: ImageShape) -> PixelView {
    let target = planes.reserve(shape.byteCount)
    let plane = shape.height * shape.width
    for channel in 0..<shape.channels {
      for pixel in 0..<plane {
        target[pixel * shape.channels + channel] = source[channel * plane + pixel]
      }
    }
    return PixelView(target, shape: shape)
  }

  private func decoding<Result>(
    _ sample: StoredSample, _ body: () throws(ImageError) -> Result
  ) throws(ShardError) -> Result {
    do throws(ImageError) { return try body() } catch {
      throw .damaged(
        path: sample.shard, row: sample.row, key: sample.key, reason: error.description)
    }
  }
}
