import Testing

@testable import TensorCore

@Suite struct CounterRandomTests {
  /// From the file kat_vectors of the authors' Random123 library.
  @Test func philoxGivesTheAuthorsKnownAnswers() {
    let ones = UInt32.max
    #expect(
      CounterRandom.philox(counter: (0, 0, 0, 0), key: (0, 0))
        == (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    #expect(
      CounterRandom.philox(counter: (ones, ones, ones, ones), key: (ones, ones))
        == (0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    #expect(
      CounterRandom.philox(
        counter: (0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344),
        key: (0xa409_3822, 0x299f_31d0))
        == (0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
  }

  @Test func theSameNameGivesTheSameNumbers() {
    func numbers() -> [UInt64] {
      var random = CounterRandom(seed: 3, epoch: 5, sample: 1 << 40, stream: .mask)
      return (0..<9).map { _ in random.next() }
    }
    #expect(numbers() == numbers())
    #expect(Set(numbers()).count == 9)
  }

  @Test func uniformNumbersStayInTheirRange() {
    var random = CounterRandom(seed: 1, stream: .synthetic)
    let count = 100_000
    let values = (0..<count).map { _ in random.uniform() }
    #expect(values.allSatisfy { (0..<1).contains($0) })
    // Five standard errors of the mean of a uniform number, and of its square.
    let mean = values.reduce(0, +) / Double(count)
    let square = values.reduce(0) { $0 + $1 * $1 } / Double(count)
    #expect(abs(mean - 1.0 / 2) < 5 * (1.0 / 12 / Double(count)).squareRoot())
    #expect(abs(square - 1.0 / 3) < 5 * (4.0 / 45 / Double(count)).squareRoot())
    #expect((0..<1000).allSatisfy { _ in (-2.5..<7).contains(random.uniform(-2.5, 7)) })
  }

  /// Chi-square against equal shares; the bounds are the 99.99 % quantiles.
  @Test(arguments: [(1, 1e-9), (2, 15.2), (3, 18.5), (7, 27.9), (10, 33.8), (100, 162.0)])
  func integersComeEquallyOften(bound: Int, chiSquareLimit: Double) {
    var random = CounterRandom(seed: 4, stream: .synthetic)
    var seen = [Int](repeating: 0, count: bound)
    for _ in 0..<1000 * bound { seen[random.integer(below: bound)] += 1 }
    let chiSquare = seen.reduce(0.0) { $0 + Double(($1 - 1000) * ($1 - 1000)) / 1000 }
    #expect(chiSquare < chiSquareLimit, "\(seen)")
  }

  /// Two thirds of the 64-bit range: a biased reduction would favour the lower half of the results.
  @Test func hugeBoundsAreUnbiased() {
    let bound = Int.max / 3 * 2
    var random = CounterRandom(seed: 5, stream: .synthetic)
    let values = (0..<20_000).map { _ in random.integer(below: bound) }
    #expect(values.allSatisfy { (0..<bound).contains($0) })
    let low = values.count { $0 < bound / 2 }
    // Five standard deviations of a fair coin.
    #expect(abs(low - 10_000) < 354)
  }

  @Test func differentNamesShareNothing() {
    let generators = [
      CounterRandom(seed: 1, epoch: 0, sample: 0, stream: .mask),
      CounterRandom(seed: 2, epoch: 0, sample: 0, stream: .mask),
      CounterRandom(seed: 1, epoch: 1, sample: 0, stream: .mask),
      CounterRandom(seed: 1, epoch: 0, sample: 1, stream: .mask),
      CounterRandom(seed: 1, epoch: 0, sample: 1 << 32, stream: .mask),
      CounterRandom(seed: 1, epoch: 0, sample: 0, stream: .augmentation),
      CounterRandom(seed: 1, epoch: 0, sample: 0, stream: .dropPath(branch: 0)),
      CounterRandom(seed: 1, epoch: 0, sample: 0, stream: .dropPath(branch: 1)),
    ]
    let count = 10_000
    let sequences = generators.map { generator in
      var random = generator
      return (0..<count).map { _ in random.uniform() - 0.5 }
    }
    for left in sequences.indices {
      for right in sequences.indices.dropFirst(left + 1) {
        let product = zip(sequences[left], sequences[right]).reduce(0) { $0 + $1.0 * $1.1 }
        let correlation = product * 12 / Double(count)
        // Five standard errors of the correlation of independent numbers.
        #expect(abs(correlation) < 0.05, "\(left) and \(right)")
      }
    }
  }

  @Test func normalPairsAreStandardNormalAndIndependent() {
    var random = CounterRandom(seed: 6, stream: .synthetic)
    let pairs = (0..<20_000).map { _ in random.normalPair() }
    let count = Double(pairs.count)
    for values in [pairs.map(\.0), pairs.map(\.1)] {
      let mean = values.reduce(0, +) / count
      let variance = values.reduce(0) { $0 + $1 * $1 } / count
      #expect(abs(mean) < 0.025)
      #expect(abs(variance - 1) < 0.04)
      #expect(abs(Double(values.count { $0 > 1.644854 }) / count - 0.05) < 0.006)
    }
    #expect(abs(pairs.reduce(0) { $0 + $1.0 * $1.1 } / count) < 0.025)
  }

  /// Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)).
  @Test(arguments: [0.2, 0.8, 1.0, 2.0]) func betaHasItsMoments(alpha: Double) {
    var random = CounterRandom(seed: 7, stream: .synthetic)
    let values = (0..<20_000).map { _ in random.beta(alpha) }
    #expect(values.allSatisfy { (0...1).contains($0) })
    let count = Double(values.count)
    let mean = values.reduce(0, +) / count
    let variance = values.reduce(0) { $0 + ($1 - 0.5) * ($1 - 0.5) } / count
    #expect(abs(mean - 0.5) < 0.012)
    #expect(abs(variance - 1 / (4 * (2 * alpha + 1))) < 0.004)
    let low = Double(values.count { $0 < 0.1 }) / count
    if alpha == 1 { #expect(abs(low - 0.1) < 0.01) }
    if alpha == 2 { #expect(abs(low - 0.028) < 0.005) }
  }
}
