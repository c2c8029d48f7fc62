/// Fletcher's checksum of 16-bit words, big-endian, as HDF5's filter of that name computes it.
///
/// `sum1 = sum of words`, `sum2 = sum of (n - i) x word i`, both modulo 65535, where an odd last
/// byte counts as the upper half of a word. The value is `sum2 x 65536 + sum1`.
///
/// - SeeAlso: Fletcher, IEEE Transactions on Communications 30, 1982; `H5_checksum_fletcher32`.
enum Fletcher32 {
  private typealias Words = SIMD16<UInt16>
  private typealias Sums = SIMD16<UInt32>

  private static let modulus: UInt64 = 65535
  /// Vectors that are added up in 32 bits: `65535 x 256 x 257 / 2` just fits.
  private static let vectorsOfBlock = 256

  static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    guard let base = bytes.baseAddress else { return 0 }
    // Words are added up as this machine reads them. Swapping the bytes of all words multiplies
    // every sum by 256 modulo 65535, so it is done once at the end.
    var sum1: UInt64 = 0
    var sum2: UInt64 = 0
    var isZero = true
    let words = bytes.count / 2
    var word = 0
    while word + 16 <= words {
      let vectors = min((words - word) / 16, vectorsOfBlock)
      let (first, second) = blockSums(base + 2 * word, vectors: vectors)
      if first > 0 { isZero = false }
      sum2 = (sum2 + UInt64(vectors * 16) * sum1 + second) % modulus
      sum1 = (sum1 + first) % modulus
      word += vectors * 16
    }
    func add(_ value: UInt64) {
      if value > 0 { isZero = false }
      sum1 = (sum1 + value) % modulus
      sum2 = (sum2 + sum1) % modulus
    }
    while word < words {
      add(
        UInt64(UInt16(littleEndian: base.loadUnaligned(fromByteOffset: 2 * word, as: UInt16.self))))
      word += 1
    }
    if bytes.count % 2 == 1 { add(UInt64(bytes[bytes.count - 1])) }
    return UInt32(folded(sum2, isZero: isZero) << 16 | folded(sum1, isZero: isZero))
  }

  /// `sum of words` and `sum of (n - i) x word i` of `n = 16 x vectors` words.
  private static func blockSums(
    _ base: UnsafeRawPointer, vectors: Int
  ) -> (first: UInt64, second: UInt64) {
    var sums = Sums(repeating: 0)
    var sumsOfSums = Sums(repeating: 0)
    for vector in 0..<vectors {
      let words = base.loadUnaligned(fromByteOffset: 32 * vector, as: Words.self)
      sums &+= Sums(truncatingIfNeeded: words)
      sumsOfSums &+= sums
    }
    var (first, second): (UInt64, Int64) = (0, 0)
    for lane in 0..<16 {
      first += UInt64(sums[lane])
      second += 16 * Int64(sumsOfSums[lane]) - Int64(lane) * Int64(sums[lane])
    }
    return (first, UInt64(second))
  }

  /// Folding carries instead of dividing leaves 65535 where a sum of something is 0 modulo 65535.
  private static func folded(_ sum: UInt64, isZero: Bool) -> UInt64 {
    let value = sum * 256 % modulus
    return value == 0 && !isZero ? modulus : value
  }
}
