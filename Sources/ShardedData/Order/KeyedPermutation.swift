import TensorCore

/// A shuffle of `0..<count` that is computed, not stored: memory O(1) for any count.
///
/// A Feistel network over the smallest even number of bits that holds `count`; results outside
/// the range are fed in again until one falls inside (cycle walking, fewer than four turns on
/// average). A Feistel network is a bijection whatever its round function is, so every value
/// comes exactly once.
///
/// - SeeAlso: Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
struct KeyedPermutation: Sendable {
  // Even the domain of four values is shuffled evenly after eight rounds (measured in the tests).
  private static let rounds = 8

  let count: Int
  private let halfBits: UInt64
  private let keys: InlineArray<8, UInt64>

  /// - Parameters:
  ///   - stream: What is shuffled. - epoch: And when.
  ///   - part: And which part of it.
  /// - Precondition: `count` is at least 1.
  init(
    count: Int, seed: UInt64, stream: RandomStream, _ epoch: Int, _ part: Int = 0
  ) {
    precondition(count >= 1, "a permutation of \(count) values")
    self.count = count
    let bits = Int.bitWidth - (count - 1).leadingZeroBitCount
    halfBits = UInt64(max(1, (bits + 1) / 2))
    var random = CounterRandom(seed: seed, epoch: epoch, sample: part, stream: stream)
    keys = InlineArray { _ in random.next() }
  }

  /// Where `position` goes.
  ///
  /// - Complexity: O(1) on average.
  subscript(position: Int) -> Int {
    precondition(position >= 0 && position < count, "position \(position) of \(count)")
    var value = UInt64(position)
    repeat { value = encrypted(value) } while value >= UInt64(count)
    return Int(value)
  }

  private func encrypted(_ value: UInt64) -> UInt64 {
    var left = value >> halfBits
    var right = value & ((1 << halfBits) - 1)
    for round in 0..<KeyedPermutation.rounds {
      (left, right) = (right, left ^ (mixed(right ^ keys[round]) >> (64 - halfBits)))
    }
    return left << halfBits | right
  }

  /// The finalizer of splitmix64.
  private func mixed(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
