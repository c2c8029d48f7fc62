import Testing

@testable import Files

@Suite struct Hash64Tests {
  /// Vectors of the reference implementation (xxhsum -H1), seed 0; together they reach every branch
  /// of the tail and the merge of the lanes.
  @Test(
    arguments: [
      ("", 0xef46_db37_51d8_e999),
      ("a", 0xd24e_c4f1_a98c_6e5b),
      ("abc", 0x44bc_2cf5_ad77_0999),
      ("message digest", 0x066e_d728_fcee_b3be),
      ("abcdefghijklmnopqrstuvwxyz", 0xcfe1_f278_fa89_835c),
      (
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 0xaaa4_6907_d304_7814
      ),
      (
        "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
        0xe04a_477f_19ee_145d
      ),
    ] as [(String, UInt64)])
  func matchesKnownVectors(text: String, expected: UInt64) {
    var hash = Hash64()
    hash.update(text)
    #expect(hash.finalize() == expected)
  }

  @Test func doesNotDependOnHowTheBytesAreCut() {
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    for count in [0, 1, 3, 4, 31, 32, 33, 63, 64, 65, 100, 1000] {
      let whole = hash(of: bytes[..<count], pieces: count)
      for pieces in [1, 2, 5, 31, 32, 33, 64] {
        #expect(hash(of: bytes[..<count], pieces: pieces) == whole, "\(count) by \(pieces)")
      }
    }
  }

  @Test func finalizeLeavesTheStateAsItIs() {
    var hash = Hash64()
    hash.update("ab")
    _ = hash.finalize()
    hash.update("c")
    #expect(hash.finalize() == 0x44bc_2cf5_ad77_0999)
  }

  @Test func hexHasSixteenDigits() {
    #expect(Hash64.hex(0xab) == "00000000000000ab")
    #expect(Hash64.hex(.max) == "ffffffffffffffff")
  }

  private func hash(of bytes: ArraySlice<UInt8>, pieces: Int) -> UInt64 {
    var hash = Hash64()
    var rest = bytes
    while !rest.isEmpty {
      rest.prefix(pieces).withUnsafeBytes { hash.update($0) }
      rest = rest.dropFirst(pieces)
    }
    return hash.finalize()
  }
}
