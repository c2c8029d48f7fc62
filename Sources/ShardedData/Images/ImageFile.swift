/// What kind of picture a file is.
enum ImageFile {
  enum Format: Equatable {
    case jpeg
    case png
  }

  private static let nameEndings = [".jpg", ".jpeg", ".png"]

  /// Whether a file of that name is one that can be decoded, in capital letters or not.
  static func isImageName(_ name: String) -> Bool {
    let name = name.lowercased()
    return nameEndings.contains { name.hasSuffix($0) && name.utf8.count > $0.utf8.count }
  }

  /// The format by the first bytes of a file, which a wrong name does not change.
  static func format(of bytes: UnsafeRawBufferPointer) throws(ImageError) -> Format {
    if bytes.isEmpty { throw ImageError(reason: "it is empty") }
    if bytes.starts(with: [0xff, 0xd8, 0xff]) { return .jpeg }
    if bytes.starts(with: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]) { return .png }
    if let name = foreignName(bytes) {
      throw ImageError(reason: "it is a \(name) file; convert it to JPEG or PNG")
    }
    let digits = bytes.prefix(8).map { byte in
      (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
    throw ImageError(
      reason:
        "it begins with the bytes \(digits.joined(separator: " ")) and is neither JPEG nor PNG")
  }

  private static func foreignName(_ bytes: UnsafeRawBufferPointer) -> String? {
    if bytes.starts(with: "GIF8".utf8) { return "GIF" }
    if bytes.starts(with: "BM".utf8) { return "BMP" }
    if bytes.starts(with: [0x49, 0x49, 42, 0]) || bytes.starts(with: [0x4d, 0x4d, 0, 42]) {
      return "TIFF"
    }
    let isWebP = bytes.starts(with: "RIFF".utf8) && bytes.dropFirst(8).starts(with: "WEBP".utf8)
    return isWebP ? "WebP" : nil
  }
}
