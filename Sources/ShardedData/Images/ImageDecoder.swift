import JPEGCodec
import PNGCodec

/// Decodes JPEG and PNG pictures, told apart by their first bytes.
///
/// Keeps its memory from one picture to the next. Not for use from two threads at once.
final class ImageDecoder {
  private let channels: PNGChannels
  private let jpeg = JPEGDecoder()
  private let whole = ScratchBuffer<UInt8>()
  private let turned = ScratchBuffer<UInt8>()

  /// - Parameter channels: 1 (gray) or 3 (colour), into which every picture is converted.
  init(channels: Int) {
    guard let channels = PNGChannels(rawValue: channels) else {
      preconditionFailure("pictures of \(channels) channels")
    }
    self.channels = channels
  }

  /// Width and height as the picture is seen, with the EXIF orientation of JPEG files, from the
  /// header alone.
  func size(
    of bytes: UnsafeRawBufferPointer
  ) throws(ImageError) -> (width: Int, height: Int) {
    switch try ImageFile.format(of: bytes) {
    case .png:
      return try pngSize(bytes)
    case .jpeg:
      let header = try jpegHeader(bytes)
      return ImageOrientation(exif: header.orientation).size(header.width, header.height)
    }
  }

  /// Decodes at least a box of the picture as seen.
  ///
  /// - Parameters:
  ///   - box: Nil: everything.
  ///   - needed: The largest size that the box will be resampled to. JPEG is decoded at 1/2, 1/4 or
  ///     1/8 of its size where that leaves the box twice as wide and high; nil: never.
  /// - Precondition: The box is not empty and lies within the size that `size` gives.
  func decode(
    _ bytes: UnsafeRawBufferPointer, box: CropBox? = nil,
    needed: (width: Int, height: Int)? = nil
  ) throws(ImageError) -> DecodedRegion {
    switch try ImageFile.format(of: bytes) {
    case .png: return try decodePNG(bytes, box: box)
    case .jpeg: return try decodeJPEG(bytes, box: box, needed: needed)
    }
  }

  private func decodePNG(
    _ bytes: UnsafeRawBufferPointer, box: CropBox?
  ) throws(ImageError) -> DecodedRegion {
    let size = try pngSize(bytes)
    let count = size.width * size.height * channels.rawValue
    let output = UnsafeMutableBufferPointer(start: whole.reserve(count), count: count)
    do throws(PNGError) {
      try PNGImage.decode(bytes, name: "", channels: channels, to: output)
    } catch {
      throw ImageError(reason: error.reason)
    }
    let shape = ImageShape(height: size.height, width: size.width, channels: channels.rawValue)
    return DecodedRegion(
      pixels: PixelView(whole.pointer, shape: shape),
      box: SourceBox(box ?? CropBox(left: 0, top: 0, width: size.width, height: size.height)))
  }

  private func decodeJPEG(
    _ bytes: UnsafeRawBufferPointer, box: CropBox?, needed: (width: Int, height: Int)?
  ) throws(ImageError) -> DecodedRegion {
    let header = try jpegHeader(bytes)
    let orientation = ImageOrientation(exif: header.orientation)
    let size = orientation.size(header.width, header.height)
    let box = box ?? CropBox(left: 0, top: 0, width: size.width, height: size.height)
    let stored = orientation.stored(box, width: header.width, height: header.height)
    let denominator = ImageDecoder.denominator(box, needed: needed)
    let decoded: JPEGPixels
    do throws(JPEGError) {
      decoded = try jpeg.decode(
        bytes,
        region: JPEGRegion(
          left: stored.left, top: stored.top, width: stored.width, height: stored.height),
        denominator: denominator, isGray: channels == .gray)
    } catch {
      throw ImageError(reason: error.reason)
    }
    let region = DecodedRegion(
      pixels: PixelView(
        pointer: decoded.pointer, width: decoded.region.width, height: decoded.region.height,
        channels: channels.rawValue, pixelStride: decoded.pixelStride),
      box: SourceBox(stored).reduced(
        by: denominator, origin: (decoded.region.left, decoded.region.top)))
    return orientation.isIdentity ? region : turn(region, orientation)
  }

  private func turn(_ region: DecodedRegion, _ orientation: ImageOrientation) -> DecodedRegion {
    let pixels = region.pixels
    let output = turned.reserve(pixels.rowStride * pixels.height)
    return DecodedRegion(
      pixels: orientation.turn(pixels, to: output),
      box: orientation.seen(region.box, width: pixels.width, height: pixels.height))
  }

  /// The largest of 1, 2, 4 and 8 that leaves twice the pixels that are needed: with less, the
  /// block averages of the reduced picture would be seen in the result.
  static func denominator(_ box: CropBox, needed: (width: Int, height: Int)?) -> Int {
    guard let needed else { return 1 }
    return [8, 4, 2].first { denominator in
      box.width >= 2 * needed.width * denominator && box.height >= 2 * needed.height * denominator
    } ?? 1
  }

  private func pngSize(
    _ bytes: UnsafeRawBufferPointer
  ) throws(ImageError) -> (width: Int, height: Int) {
    do throws(PNGError) {
      return try PNGImage.size(of: bytes, name: "")
    } catch {
      throw ImageError(reason: error.reason)
    }
  }

  private func jpegHeader(_ bytes: UnsafeRawBufferPointer) throws(ImageError) -> JPEGHeader {
    do throws(JPEGError) {
      return try jpeg.header(of: bytes)
    } catch {
      throw ImageError(reason: error.reason)
    }
  }
}

/// Decoded pixels, and where in them that lies what was asked for.
struct DecodedRegion {
  /// Memory of the decoder, valid until its next call.
  let pixels: PixelView
  /// In pixels of `pixels`.
  let box: SourceBox
}

extension SourceBox {
  /// The box in a part of the picture at 1/`denominator` of its size that begins at `origin`.
  fileprivate func reduced(by denominator: Int, origin: (left: Int, top: Int)) -> SourceBox {
    let scale = 1 / Double(denominator)
    return SourceBox(
      left: left * scale - Double(origin.left), top: top * scale - Double(origin.top),
      width: width * scale, height: height * scale)
  }
}
