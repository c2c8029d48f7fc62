/// What a JPEG file says about its picture.
public struct JPEGHeader: Equatable, Sendable {
  /// Columns as stored, before `orientation`.
  public let width: Int
  /// Rows as stored, before `orientation`.
  public let height: Int
  /// 1 (gray), 3 (colour) or 4 (CMYK).
  public let components: Int
  public let isProgressive: Bool
  /// How the stored picture lies, 1 to 8, as EXIF 2.3 numbers it (tag 0x0112); 1 if the file does
  /// not say.
  public let orientation: Int
}

/// A rectangle of whole pixels of a picture as stored.
public struct JPEGRegion: Equatable, Sendable {
  public var left: Int
  public var top: Int
  public var width: Int
  public var height: Int

  public init(left: Int, top: Int, width: Int, height: Int) {
    self.left = left
    self.top = top
    self.width = width
    self.height = height
  }
}

/// Decoded pixels in the decoder's memory, `[height, width]` of `pixelStride` bytes each.
public struct JPEGPixels {
  /// Valid until the decoder's next call, or its end.
  public let pointer: UnsafePointer<UInt8>
  /// Which part of the reduced picture this is.
  public let region: JPEGRegion
  /// 4: red, green, blue and a byte without meaning; or 1: gray.
  public let pixelStride: Int
}
