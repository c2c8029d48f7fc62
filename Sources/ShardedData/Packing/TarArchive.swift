import Files

/// The files of a tar archive, or of one that lies inside another, by where they stand in it.
///
/// Understands ustar, and the long names of GNU tar and of pax.
///
/// - SeeAlso: POSIX.1-2017, pax, "ustar Interchange Format".
struct TarArchive {
  /// A regular file of the archive.
  struct Member {
    let name: String
    let offset: Int
    let size: Int
  }

  private static let blockSize = 512

  let members: [Member]

  /// - Parameters:
  ///   - range: Where the archive stands in the file.
  ///   - name: What to call it in errors.
  init(_ file: RandomAccessFile, range: Range<Int>, name: String) throws(ShardError) {
    var members: [Member] = []
    var offset = range.lowerBound
    var longName: String?
    while offset + TarArchive.blockSize <= range.upperBound {
      let header = try TarHeader(
        TarArchive.read(file, offset..<offset + TarArchive.blockSize), offset: offset, name: name)
      guard let header else { break }
      let start = offset + TarArchive.blockSize
      guard header.size <= range.upperBound - start else {
        throw .badSource(
          path: name, reason: "the archive ends within \(longName ?? header.name)")
      }
      let data = start..<start + header.size
      switch header.kind {
      case UInt8(ascii: "L"):
        longName = TarArchive.text(try TarArchive.metadata(file, data, name))
      case UInt8(ascii: "x"):
        longName = TarArchive.pathRecord(try TarArchive.metadata(file, data, name)) ?? longName
      case 0, UInt8(ascii: "0"), UInt8(ascii: "7"):
        members.append(
          Member(name: longName ?? header.name, offset: start, size: header.size))
        longName = nil
      default:
        // Folders, links, global records.
        if header.kind != UInt8(ascii: "g") { longName = nil }
      }
      offset =
        start + (header.size + TarArchive.blockSize - 1) / TarArchive.blockSize
        * TarArchive.blockSize
    }
    self.members = members
  }

  static func read(_ file: RandomAccessFile, _ range: Range<Int>) throws(ShardError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    let outcome = bytes.withUnsafeMutableBytes { buffer in
      Result { () throws(FileError) in try file.read(at: range.lowerBound, into: buffer) }
    }
    let count = try handling { () throws(FileError) in try outcome.get() }
    guard count == range.count else {
      throw .badSource(path: file.path, reason: "it ends at byte \(range.lowerBound + count)")
    }
    return bytes
  }

  /// A long name is a line of text; a damaged size must not ask for all of the archive.
  private static func metadata(
    _ file: RandomAccessFile, _ range: Range<Int>, _ name: String
  ) throws(ShardError) -> [UInt8] {
    guard range.count <= 1 << 20 else {
      throw .badSource(path: name, reason: "a name in it takes \(range.count) bytes")
    }
    return try read(file, range)
  }

  fileprivate static func text(_ bytes: some Sequence<UInt8>) -> String {
    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }

  /// The `path` of pax records, `LENGTH KEY=VALUE\n` each.
  private static func pathRecord(_ bytes: [UInt8]) -> String? {
    var rest = bytes[...]
    while let space = rest.firstIndex(of: UInt8(ascii: " ")),
      let length = Int(String(decoding: rest[..<space], as: UTF8.self)),
      length > space - rest.startIndex, length <= rest.count
    {
      let record = rest[(space + 1)..<(rest.startIndex + length)]
      let pair = String(decoding: record, as: UTF8.self)
      if pair.hasPrefix("path=") {
        return String(pair.dropFirst(5).prefix { $0 != "\n" })
      }
      rest = rest[(rest.startIndex + length)...]
    }
    return nil
  }
}

/// The header block of a member.
private struct TarHeader {
  let name: String
  let size: Int
  let kind: UInt8

  /// Nil for the block of zeros that ends an archive.
  init?(_ block: [UInt8], offset: Int, name archive: String) throws(ShardError) {
    if block.allSatisfy({ $0 == 0 }) { return nil }
    var sum = 0
    // The sum is made with spaces where it is then written.
    for (index, byte) in block.enumerated() {
      sum += (148..<156).contains(index) ? 32 : Int(byte)
    }
    guard TarHeader.octal(block[148..<156]) == sum else {
      throw .badSource(
        path: archive,
        reason: "what stands at byte \(offset) is no header of a tar archive; it is damaged, or "
          + "compressed")
    }
    guard let size = TarHeader.number(block[124..<136]), size >= 0 else {
      throw .badSource(path: archive, reason: "the size at byte \(offset) is no number")
    }
    self.size = size
    kind = block[156]
    let isUstar = Array(block[257..<262]) == Array("ustar".utf8)
    let prefix = isUstar ? TarArchive.text(block[345..<500]) : ""
    let base = TarArchive.text(block[0..<100])
    name = prefix.isEmpty ? base : "\(prefix)/\(base)"
  }

  /// Octal digits, or, with the highest bit set, a binary number for sizes above 8 GiB.
  private static func number(_ field: ArraySlice<UInt8>) -> Int? {
    guard let first = field.first, first & 0x80 != 0 else { return octal(field) }
    // 63 bits are enough for any file.
    guard field.dropFirst().prefix(3).allSatisfy({ $0 == 0 }) else { return nil }
    let value = field.suffix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return Int(exactly: value)
  }

  private static func octal(_ field: ArraySlice<UInt8>) -> Int? {
    let digits = field.drop { $0 == 32 }.prefix { (48..<56).contains($0) }
    return digits.isEmpty ? nil : Int(String(decoding: digits, as: UTF8.self), radix: 8)
  }
}
