import TestSupport
import Testing

@testable import TensorCore

@Suite struct ExactSumTests {
  private func sum(_ terms: some Sequence<Double>) -> ExactSum {
    var sum = ExactSum()
    for term in terms { sum.add(term) }
    return sum
  }

  /// As an allreduce does it: wire values of all parts, added up.
  private func merged(_ parts: [ExactSum]) -> ExactSum {
    var values = [Double](repeating: 0, count: ExactSum.wireCount)
    for part in parts {
      for (index, value) in part.wireValues.enumerated() { values[index] += value }
    }
    return ExactSum(wireValues: values)
  }

  /// Any finite double, of all exponents and both signs.
  private func anyTerms(_ count: Int, _ random: inout CounterRandom) -> [Double] {
    (0..<count).map { _ in
      // Below 2^1014, so that no sum of them overflows.
      let exponent = UInt64(random.integer(below: 2037))
      let sign: FloatingPointSign = random.integer(below: 2) == 0 ? .plus : .minus
      return Double(
        sign: sign, exponentBitPattern: UInt(exponent),
        significandBitPattern: random.next() & ((1 << 52) - 1))
    }
  }

  @Test(
    arguments: [
      ([], 0), ([1, 2, 3.5], 6.5), ([1e300, 1, -1e300], 1), ([-1e300, 1e-300, 1e300], 1e-300),
      ([1e308, 1e308, -1e308, -1e308, -2.5], -2.5), ([0.1, -0.1], 0), ([-0.0, 0], 0),
      ([-1, -2, -1e-20, 1e-20], -3), ([0x1p-1074, 0x1p-1074, 0x1p-1073], 0x1p-1072),
      ([-0x1p-1074, -0x1p-1022], -0x1p-1022 - 0x1p-1074),
      ([0x1p-1074, 0x1p1023, -0x1p1023], 0x1p-1074),
      ([0x1p53, 1, 1], 0x1p53 + 2), ([Double.greatestFiniteMagnitude], .greatestFiniteMagnitude),
      ([-Double.greatestFiniteMagnitude], -.greatestFiniteMagnitude),
    ] as [([Double], Double)])
  func sumsThatDoublesHold(terms: [Double], expected: Double) {
    #expect(sum(terms).value == expected)
    #expect(sum(terms.reversed()).value == expected)
    #expect(merged(terms.map { sum([$0]) }).value == expected)
    #expect(sum(terms.map { -$0 }).value == -expected)
  }

  /// Against integers of 128 bits.
  @Test func agreesWithIntegers() {
    var random = CounterRandom(seed: 1, stream: .synthetic)
    for round in 0..<300 {
      let largestShift = 1 + round % 60
      var (exact, terms) = (Int128(0), [Double]())
      for _ in 0..<50 {
        let significand = Int64(bitPattern: random.next()) >> 11
        let shift = random.integer(below: largestShift)
        exact += Int128(significand) << Int128(shift)
        terms.append(Double(significand) * Double(sign: .plus, exponent: shift, significand: 1))
      }
      let (value, expected) = (sum(terms).value, Double(exact))
      // The last place may be rounded twice.
      #expect(abs(value - expected) <= expected.ulp)
      // Taken away again, nothing is left but zero.
      #expect(sum(terms + terms.map { -$0 }).value == 0)
    }
  }

  @Test func orderAndPartitionDoNotMatter() {
    var random = CounterRandom(seed: 2, stream: .synthetic)
    for count in [1, 2, 17, 1000] {
      let terms = anyTerms(count, &random)
      let expected = sum(terms)
      for _ in 0..<20 {
        let shuffled = terms.shuffled(using: &random)
        let parts = 1 + random.integer(below: 9)
        var sums = [ExactSum](repeating: ExactSum(), count: parts)
        for term in shuffled { sums[random.integer(below: parts)].add(term) }
        let total = merged(sums)
        #expect(total.value.bitPattern == expected.value.bitPattern)
        #expect(total.wireValues == expected.wireValues)
        #expect(total == ExactSum(wireValues: expected.wireValues))
      }
    }
  }

  /// Wire values are integers that doubles hold also when those of many ranks are added.
  @Test func wireValuesAreSmallIntegers() {
    var random = CounterRandom(seed: 3, stream: .synthetic)
    let values = sum(anyTerms(1000, &random)).wireValues
    #expect(values.count == ExactSum.wireCount)
    #expect(values.allSatisfy { $0 == $0.rounded() && abs($0) <= 0x1p32 })
  }

  @Test func whatIsNotFiniteMakesTheSumNotANumber() {
    for bad in [Double.nan, .infinity, -.infinity] {
      #expect(sum([1, bad, 2]).value.isNaN)
      #expect(merged([sum([1]), sum([bad]), sum([2])]).value.isNaN)
    }
    // Not to be taken away by its opposite.
    #expect(merged([sum([.infinity]), sum([-.infinity])]).value.isNaN)
  }
}
