/// Records in a file: length (8 bytes, little-endian), its checksum, data, their checksum.
///
/// - SeeAlso: tensorflow/core/lib/io/record_writer.h.
enum RecordFrame {
  private static let (head, tail) = (12, 4)

  static func bytes(of data: [UInt8]) -> [UInt8] {
    let length = littleEndian(UInt64(data.count))
    return length + littleEndian(MaskedCRC32C.of(length)) + data
      + littleEndian(MaskedCRC32C.of(data))
  }

  /// The data of the record at a place, and where the next one stands.
  ///
  /// - Returns: Nil where there is none, or it is cut off or damaged.
  static func read(_ bytes: [UInt8], at start: Int) -> (data: ArraySlice<UInt8>, end: Int)? {
    guard start + head + tail <= bytes.count else { return nil }
    let length = bytes[start..<start + 8]
    let count = number(length)
    guard number(bytes[start + 8..<start + head]) == UInt64(MaskedCRC32C.of(length)),
      count <= UInt64(bytes.count - start - head - tail)
    else { return nil }
    let end = start + head + Int(count)
    let data = bytes[start + head..<end]
    guard number(bytes[end..<end + tail]) == UInt64(MaskedCRC32C.of(data)) else { return nil }
    return (data, end + tail)
  }

  private static func littleEndian<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    (0..<Value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> Value($0 * 8)) }
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
