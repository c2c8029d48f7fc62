import TestSupport
import Testing

@testable import TensorCore

@Suite struct LinearKernelTests {
  /// Float sums of at most 65 products below 1 in magnitude: 65 x 65 x 2^-24 at the very worst.
  static let tolerance: Float = 2e-5

  /// `alpha A B^T` and the like in Double: `C[i, j] = sum_k a(i, k) b(k, j)`.
  private func product(
    _ m: Int, _ n: Int, _ k: Int, _ a: (Int, Int) -> Float, _ b: (Int, Int) -> Float
  ) -> [Float] {
    (0..<m * n).map { index in
      Float(
        (0..<k).reduce(0.0) { $0 + Double(a(index / n, $1)) * Double(b($1, index % n)) })
    }
  }

  private func plus(_ values: [Float], _ old: [Float], times beta: Float) -> [Float] {
    zip(values, old).map { $0 + beta * $1 }
  }

  /// Runs of a bias row: all of it, or its first and last third around a gap.
  private func slices(outputs: Int, gap: Bool) -> [Range<Int>] {
    guard gap else { return [0..<outputs] }
    return [0..<outputs / 3, outputs - outputs / 3..<outputs].filter { !$0.isEmpty }
  }

  private func forward(
    _ pool: ThreadPool, x: [Float], weight: [Float], bias: [Float], slices: [Range<Int>],
    activates: Bool, rows: Int, inputs: Int, outputs: Int
  ) -> (y: [Float], activated: [Float]) {
    var y = [Float](repeating: .nan, count: rows * outputs)
    var activated = y
    bias.withUnsafeBufferPointer { bias in
      let runs = slices.map {
        LinearKernel.BiasSlice(
          start: $0.lowerBound, values: bias.baseAddress! + $0.lowerBound, count: $0.count)
      }
      activated.withUnsafeMutableBufferPointer { activated in
        LinearKernel.forward(
          pool, x: x, weight: weight, bias: runs, y: &y,
          activated: activates ? activated.baseAddress : nil, rows: rows, inputs: inputs,
          outputs: outputs)
      }
    }
    return (y, activated)
  }

  @Test(arguments: oddRows, threadCounts)
  func forwardAgreesWithItsReference(rows: Int, threadCount: Int) {
    let pool = ThreadPool(threadCount: threadCount)
    var values = TestValues(1)
    for (inputs, outputs) in product(oddColumns, oddColumns) {
      let x = values.floats(rows * inputs)
      let weight = values.floats(outputs * inputs)
      let bias = values.floats(outputs)
      for gap in [false, true] {
        let slices = slices(outputs: outputs, gap: gap)
        let biased = bias.indices.map { index in
          slices.contains { $0.contains(index) } ? bias[index] : 0
        }
        let expected = LinearKernel.forwardReference(
          x: x, weight: weight, bias: biased, rows: rows, inputs: inputs, outputs: outputs)
        let (y, activated) = forward(
          pool, x: x, weight: weight, bias: bias, slices: slices, activates: gap, rows: rows,
          inputs: inputs, outputs: outputs)
        #expect(
          largestDifference(y, expected) < LinearKernelTests.tolerance, "\(inputs) to \(outputs)")
        let gelu = GELUKernel.forwardReference(expected)
        #expect(!gap || largestDifference(activated, gelu) < LinearKernelTests.tolerance)
      }
    }
  }

  @Test(arguments: oddRows, threadCounts)
  func gradientsAgreeWithTheDefinition(rows: Int, threadCount: Int) {
    let pool = ThreadPool(threadCount: threadCount)
    var values = TestValues(2)
    for (inputs, outputs) in product(oddColumns, oddColumns) {
      let x = values.floats(rows * inputs)
      let weight = values.floats(outputs * inputs)
      let dY = values.floats(rows * outputs)
      let dX = product(
        rows, inputs, outputs, { dY[$0 * outputs + $1] }, { weight[$0 * inputs + $1] })
      let dWeight = product(
        outputs, inputs, rows, { dY[$1 * outputs + $0] }, { x[$0 * inputs + $1] })
      for beta: Float in [0, 1] {
        // With beta 0 the old contents must not count, whatever they are.
        let oldX = beta == 0 ? dX.map { _ in Float.nan } : values.floats(dX.count)
        let oldWeight = beta == 0 ? dWeight.map { _ in Float.nan } : values.floats(dWeight.count)
        var (newX, newWeight) = (oldX, oldWeight)
        LinearKernel.backwardInput(
          pool, dY: dY, weight: weight, dX: &newX, accumulate: beta == 1, rows: rows,
          inputs: inputs, outputs: outputs)
        LinearKernel.backwardWeight(
          pool, dY: dY, x: x, dWeight: &newWeight, beta: beta, rows: rows, inputs: inputs,
          outputs: outputs)
        let expectedX = beta == 0 ? dX : plus(dX, oldX, times: 1)
        let expectedWeight = beta == 0 ? dWeight : plus(dWeight, oldWeight, times: 1)
        let label: Comment = "\(inputs) to \(outputs), beta \(beta)"
        #expect(largestDifference(newX, expectedX) < LinearKernelTests.tolerance, label)
        #expect(largestDifference(newWeight, expectedWeight) < LinearKernelTests.tolerance, label)
      }
    }
  }

  @Test(arguments: oddRows, oddColumns)
  func biasGradientIsTheColumnSum(rows: Int, outputs: Int) {
    var values = TestValues(3)
    let dY = values.floats(rows * outputs)
    for slice in slices(outputs: outputs, gap: true) + [0..<outputs] {
      let sums = slice.map { column in
        Float((0..<rows).reduce(0.0) { $0 + Double(dY[$1 * outputs + column]) })
      }
      for beta: Float in [0, 1] {
        let old = beta == 0 ? sums.map { _ in Float.nan } : values.floats(slice.count)
        let results = withEveryPool { pool in
          var dBias = old
          LinearKernel.backwardBias(
            pool, dY: dY, start: slice.lowerBound, count: slice.count, dBias: &dBias, beta: beta,
            rows: rows, outputs: outputs)
          return dBias
        }
        let expected = beta == 0 ? sums : plus(sums, old, times: 1)
        #expect(largestDifference(results[0], expected) < LinearKernelTests.tolerance)
        #expect(results.allSatisfy { sameBits($0, results[0]) })
      }
    }
  }

  private func product(_ a: [Int], _ b: [Int]) -> [(Int, Int)] {
    a.flatMap { left in b.map { (left, $0) } }
  }
}
