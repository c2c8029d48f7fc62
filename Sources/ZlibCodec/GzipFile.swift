internal import CZlib
import Glibc

/// A file that could not be read to its end.
public struct GzipError: Error, Equatable, Sendable, CustomStringConvertible {
  public let path: String
  public let reason: String

  public var description: String { "Cannot read \(path): \(reason)." }
}

/// Reads files that may or may not be compressed with gzip.
public enum GzipFile {
  /// The whole content of a file, decompressed when it starts with the gzip signature.
  ///
  /// - Throws: `GzipError` when the file cannot be opened, or when a compressed stream is damaged
  ///   or ends early.
  public static func read(path: String) throws(GzipError) -> [UInt8] {
    errno = 0
    guard let file = gzopen(path, "rb") else {
      throw GzipError(path: path, reason: String(cString: strerror(errno)))
    }
    gzbuffer(file, 1 << 17)
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = block.withUnsafeMutableBytes { gzread(file, $0.baseAddress, UInt32($0.count)) }
      if count < 0 {
        let reason = lastReason(of: file)
        gzclose(file)
        throw GzipError(path: path, reason: reason)
      }
      if count == 0 { break }
      bytes.append(contentsOf: block[0..<Int(count)])
    }
    // A stream that ends early is only reported here.
    guard gzclose(file) == Z_OK else {
      throw GzipError(path: path, reason: "the compressed stream ends early")
    }
    return bytes
  }

  private static func lastReason(of file: gzFile) -> String {
    var code: Int32 = 0
    let text = gzerror(file, &code).map { String(cString: $0) } ?? ""
    if code == Z_DATA_ERROR { return "the compressed stream is damaged (\(text))" }
    return code == Z_ERRNO ? String(cString: strerror(errno)) : text
  }
}
