/// The orientation tag of EXIF data (EXIF 2.3, section 4.6; a TIFF structure).
enum ExifOrientation {
  /// What precedes the TIFF structure in the segment APP1.
  static let signature: [UInt8] = [0x45, 0x78, 0x69, 0x66, 0, 0]
  private static let tag = 0x0112
  private static let short = 3
  private static let long = 4

  /// - Parameter segment: Content of a segment APP1.
  /// - Returns: 1 to 8; 1 if the tag is missing, nonsense or out of reach. Nil if the segment
  ///   holds something else than EXIF data.
  static func read(_ segment: UnsafeRawBufferPointer) -> Int? {
    guard segment.starts(with: signature) else { return nil }
    guard let tiff = TIFFBytes(UnsafeRawBufferPointer(rebasing: segment[signature.count...])),
      let directory = tiff.integer(at: 4, bytes: 4),
      let count = tiff.integer(at: directory, bytes: 2)
    else { return 1 }
    for index in 0..<count {
      let entry = directory + 2 + index * 12
      guard let found = tiff.integer(at: entry, bytes: 2) else { return 1 }
      if found != tag { continue }
      let type = tiff.integer(at: entry + 2, bytes: 2)
      // One short fills the first half of the four bytes of a value.
      let value = tiff.integer(at: entry + 8, bytes: type == short ? 2 : 4)
      guard type == short || type == long, let value, (1...8).contains(value) else { return 1 }
      return value
    }
    return 1
  }
}

/// A TIFF structure with its byte order; what lies outside of it reads as nil.
private struct TIFFBytes {
  private let bytes: UnsafeRawBufferPointer
  private let isBigEndian: Bool

  init?(_ bytes: UnsafeRawBufferPointer) {
    if bytes.starts(with: [0x49, 0x49, 42, 0]) {
      isBigEndian = false
    } else if bytes.starts(with: [0x4d, 0x4d, 0, 42]) {
      isBigEndian = true
    } else {
      return nil
    }
    self.bytes = bytes
  }

  func integer(at position: Int, bytes count: Int) -> Int? {
    guard position + count <= bytes.count else { return nil }
    let digits = bytes[position..<position + count]
    return isBigEndian
      ? digits.reduce(0) { $0 << 8 | Int($1) } : digits.reversed().reduce(0) { $0 << 8 | Int($1) }
  }
}
