import Glibc

/// What a random number is for. Streams with different purposes never share numbers.
public struct RandomStream: Equatable, Sendable {
  public let rawValue: UInt32

  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public static let initialization = RandomStream(rawValue: 1)
  public static let samplerOrder = RandomStream(rawValue: 2)
  public static let augmentation = RandomStream(rawValue: 3)
  public static let mask = RandomStream(rawValue: 4)
  public static let tokenizer = RandomStream(rawValue: 5)
  public static let synthetic = RandomStream(rawValue: 6)
  public static let samplerTurn = RandomStream(rawValue: 7)
  public static let samplerRuns = RandomStream(rawValue: 8)
  public static let samplerRun = RandomStream(rawValue: 9)
  public static let packing = RandomStream(rawValue: 10)
  public static let randAugment = RandomStream(rawValue: 20)
  public static let randomErasing = RandomStream(rawValue: 21)
  public static let mixup = RandomStream(rawValue: 22)
  /// Stochastic depth; the branch number is added.
  public static func dropPath(branch: Int) -> RandomStream {
    RandomStream(rawValue: 0x1_0000 + UInt32(branch))
  }
}

/// Random numbers as a function of (seed, epoch, sample, stream): Philox 4x32 with 10 rounds.
///
/// Nothing depends on the rank, the step or on how many numbers others drew, so any sample's
/// crop, mask and drop-path draw can be made again anywhere.
///
/// - SeeAlso: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
public struct CounterRandom: RandomNumberGenerator, Sendable {
  private let key: (UInt32, UInt32)
  private var counter: (UInt32, UInt32, UInt32, UInt32)
  private var block: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
  private var used = 4

  public init(seed: UInt64, epoch: Int = 0, sample: Int = 0, stream: RandomStream) {
    // The stream is mixed into the key (splitmix64), which leaves the whole counter to
    // (block, epoch, sample).
    var z = seed &+ UInt64(stream.rawValue) &* 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    z ^= z >> 31
    key = (UInt32(truncatingIfNeeded: z), UInt32(truncatingIfNeeded: z >> 32))
    counter = (
      0, UInt32(truncatingIfNeeded: epoch), UInt32(truncatingIfNeeded: sample),
      UInt32(truncatingIfNeeded: sample >> 32)
    )
  }

  /// The next 32 random bits.
  public mutating func nextUInt32() -> UInt32 {
    if used == 4 {
      block = CounterRandom.philox(counter: counter, key: key)
      counter.0 &+= 1
      used = 0
    }
    defer { used += 1 }
    switch used {
    case 0: return block.0
    case 1: return block.1
    case 2: return block.2
    default: return block.3
    }
  }

  public mutating func next() -> UInt64 {
    let high = UInt64(nextUInt32())
    return high << 32 | UInt64(nextUInt32())
  }

  /// Uniform in [0, 1), 53 random bits.
  public mutating func uniform() -> Double {
    Double(next() >> 11) * 0x1p-53
  }

  /// Uniform in [lower, upper).
  public mutating func uniform(_ lower: Double, _ upper: Double) -> Double {
    lower + (upper - lower) * uniform()
  }

  /// Two independent draws from the standard normal distribution, by Box and Muller's transform.
  public mutating func normalPair() -> (Double, Double) {
    // One minus a number in [0, 1): the logarithm of zero is not needed.
    let radius = (-2 * Glibc.log(1 - uniform())).squareRoot()
    let angle = 2 * Double.pi * uniform()
    return (radius * Glibc.cos(angle), radius * Glibc.sin(angle))
  }

  /// A draw from Beta(alpha, alpha), by Joehnk's method: of pairs `(u^(1/alpha), v^(1/alpha))` the
  /// first whose sum `s` is at most 1 gives `u^(1/alpha) / s`. Quick for an alpha of about 1.
  ///
  /// - Precondition: `alpha` is above 0.
  /// - SeeAlso: Joehnk, Metrika 8, 1964.
  public mutating func beta(_ alpha: Double) -> Double {
    precondition(alpha > 0, "a beta distribution of \(alpha)")
    while true {
      let (x, y) = (Glibc.pow(uniform(), 1 / alpha), Glibc.pow(uniform(), 1 / alpha))
      if x + y > 0, x + y <= 1 { return x / (x + y) }
    }
  }

  /// Uniform over `0..<bound` without bias (Lemire's multiply and reject).
  public mutating func integer(below bound: Int) -> Int {
    precondition(bound > 0, "no integer below \(bound)")
    let range = UInt64(bound)
    while true {
      let product = next().multipliedFullWidth(by: range)
      if product.low >= (0 &- range) % range { return Int(product.high) }
    }
  }

  /// The Philox 4x32-10 block function.
  static func philox(
    counter: (UInt32, UInt32, UInt32, UInt32), key: (UInt32, UInt32)
  ) -> (UInt32, UInt32, UInt32, UInt32) {
    var (c0, c1, c2, c3) = counter
    var (k0, k1) = key
    for _ in 0..<10 {
      let p0 = (0xD251_1F53 as UInt32).multipliedFullWidth(by: c0)
      let p1 = (0xCD9E_8D57 as UInt32).multipliedFullWidth(by: c2)
      (c0, c1, c2, c3) = (p1.high ^ c1 ^ k0, p1.low, p0.high ^ c3 ^ k1, p0.low)
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
    return (c0, c1, c2, c3)
  }
}
