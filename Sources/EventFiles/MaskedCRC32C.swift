/// The checksum of record files: CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), turned right
/// by 15 bits and moved by 0xA282EAD8, since a checksum of data that hold checksums is a weak one.
///
/// - SeeAlso: RFC 3720, appendix B.4; tensorflow/core/lib/hash/crc32c.h.
enum MaskedCRC32C {
  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { value, _ in value >> 1 ^ (value & 1) &* 0x82F6_3B78 }
  }

  static func unmasked(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(~UInt32(0)) { value, byte in
      value >> 8 ^ table[Int((value ^ UInt32(byte)) & 0xFF)]
    }
  }

  static func of(_ bytes: some Sequence<UInt8>) -> UInt32 {
    let value = unmasked(bytes)
    return (value >> 15 | value << 17) &+ 0xA282_EAD8
  }
}
