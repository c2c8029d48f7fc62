internal import CJPEG
import Glibc

/// Writes JPEG files as Pillow does by default: sequential, colour at half resolution (4:2:0).
public enum JPEGEncoder {
  /// The largest width and height of the library.
  static let maximumExtent = 65_500

  /// - Parameters:
  ///   - pixels: `[height, width]` of `pixelStride` bytes.
  ///   - pixelStride: 1 (gray), 3 (red, green, blue) or 4 (the same and a byte passed over).
  ///   - quality: 1 to 100.
  /// - Returns: The file.
  public static func encode(
    _ pixels: UnsafePointer<UInt8>, width: Int, height: Int, pixelStride: Int, quality: Int
  ) throws(JPEGError) -> [UInt8] {
    precondition([1, 3, 4].contains(pixelStride), "pixels of \(pixelStride) bytes")
    guard min(width, height) > 0, max(width, height) <= maximumExtent else {
      throw JPEGError(
        reason: "\(width) x \(height) pixels are not within 1 x 1 and "
          + "\(maximumExtent) x \(maximumExtent)")
    }
    let encoder = UnsafeMutablePointer<cjpeg_encoder>.allocate(capacity: 1)
    defer { encoder.deallocate() }
    let success = cjpeg_encode(
      encoder, pixels, UInt32(width), UInt32(height), Int32(pixelStride), Int32(quality))
    guard success != 0, let bytes = encoder.pointee.bytes else {
      throw JPEGError(failures: encoder.pointee.failures)
    }
    defer { free(bytes) }
    return Array(UnsafeBufferPointer(start: bytes, count: Int(encoder.pointee.count)))
  }
}
