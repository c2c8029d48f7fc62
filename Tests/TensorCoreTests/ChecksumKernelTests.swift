import TestSupport
import Testing

@testable import TensorCore

@Suite struct ChecksumKernelTests {
  static let counts = [1, 7, 8, 9, 1023, 1025, 5000]

  private static let step = AdamWStep(
    learningRate: 1e-2, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.05,
    gradientScale: 1, step: 1)

  @Test(arguments: counts)
  func isTheSumOfTheBits(count: Int) {
    var source = TestValues(1)
    let values = source.floats(count)
    let expected = values.reduce(UInt32(0)) { $0 &+ $1.bitPattern }
    #expect(
      withEveryPool { ChecksumKernel.sum($0, values, count: count) } == [
        expected, expected, expected,
      ])
  }

  /// What an update returns is what a later pass over the same parameters finds.
  @Test(arguments: counts)
  func agreesWithTheUpdate(count: Int) {
    var source = TestValues(2)
    let (start, gradients) = (source.floats(count), source.floats(count))
    for pool in threadCounts.map({ ThreadPool(threadCount: $0) }) {
      var (parameters, first, second) = (
        start, [Float](repeating: 0, count: count), [Float](repeating: 0, count: count)
      )
      let sums = AdamWKernel.update(
        pool, ChecksumKernelTests.step, parameters: &parameters, gradients: gradients,
        firstMoments: &first, secondMoments: &second, count: count)
      #expect(sums.before == ChecksumKernel.sum(pool, start, count: count))
      #expect(sums.after == ChecksumKernel.sum(pool, parameters, count: count))
      #expect(sums.before != sums.after)
    }
  }

  @Test(arguments: [9, 1025])
  func everyFlippedBitChangesIt(count: Int) {
    let pool = ThreadPool(threadCount: 1)
    var source = TestValues(3)
    var values = source.floats(count)
    let kept = ChecksumKernel.sum(pool, values, count: count)
    // In whole lanes, and in the rest behind them.
    for place in [0, 3, count - 2, count - 1] {
      for bit in 0..<32 {
        let value = values[place]
        values[place] = Float(bitPattern: value.bitPattern ^ 1 << bit)
        #expect(ChecksumKernel.sum(pool, values, count: count) != kept, "bit \(bit) of \(place)")
        values[place] = value
      }
    }
    #expect(ChecksumKernel.sum(pool, values, count: count) == kept)
  }
}
