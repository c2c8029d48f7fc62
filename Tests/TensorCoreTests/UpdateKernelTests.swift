import Glibc
import TestSupport
import Testing

@testable import TensorCore

@Suite struct AdamWKernelTests {
  /// Five updates of parameters below 2, each rounded a few times to 1.2e-7.
  static let tolerance: Float = 2e-6

  struct State {
    var parameters: [Float]
    var first: [Float]
    var second: [Float]
  }

  /// PyTorch's AdamW for one element, in Double, over all steps.
  private func reference(_ start: Float, _ gradients: [Float], _ settings: AdamWStep) -> Float {
    var (p, m, v) = (Double(start), 0.0, 0.0)
    let (b1, b2) = (Double(settings.beta1), Double(settings.beta2))
    let rate = Double(settings.learningRate)
    for (index, gradient) in gradients.enumerated() {
      let g = Double(gradient) * Double(settings.gradientScale)
      let t = Double(index + 1)
      p *= 1 - rate * Double(settings.weightDecay)
      m = b1 * m + (1 - b1) * g
      v = b2 * v + (1 - b2) * g * g
      let denominator =
        (v / (1 - Glibc.pow(b2, t))).squareRoot() + Double(settings.epsilon)
      p -= rate / (1 - Glibc.pow(b1, t)) * m / denominator
    }
    return Float(p)
  }

  @Test(
    arguments: [1, 7, 8, 9, 31, 1023, 1025, 2051],
    [(wd: Float(0), scale: Float(1)), (wd: 0.05, scale: 0.125)])
  func agreesWithAScalarVersion(count: Int, settings: (wd: Float, scale: Float)) {
    var values = TestValues(1)
    let start = values.floats(count)
    let gradients = (0..<5).map { _ in values.floats(count, in: -3...3) }
    var step = AdamWStep(
      learningRate: 1e-2, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: settings.wd,
      gradientScale: settings.scale, step: 0)
    let expected = start.indices.map { index in
      reference(start[index], gradients.map { $0[index] }, step)
    }
    let results = withEveryPool { pool in
      let zeros = [Float](repeating: 0, count: count)
      var state = State(parameters: start, first: zeros, second: zeros)
      for (index, gradient) in gradients.enumerated() {
        step.step = index + 1
        _ = AdamWKernel.update(
          pool, step, parameters: &state.parameters, gradients: gradient,
          firstMoments: &state.first, secondMoments: &state.second, count: count)
      }
      return state
    }
    #expect(largestDifference(results[0].parameters, expected) < AdamWKernelTests.tolerance)
    for other in results {
      #expect(sameBits(other.parameters, results[0].parameters))
      #expect(sameBits(other.first, results[0].first))
      #expect(sameBits(other.second, results[0].second))
    }
  }

  /// The first update is lr sign(g), whatever the size of g.
  @Test func theFirstStepHasTheSizeOfTheLearningRate() {
    var (parameters, first, second): ([Float], [Float], [Float]) = (
      [1, 1, 1], [0, 0, 0], [0, 0, 0]
    )
    _ = AdamWKernel.update(
      ThreadPool(threadCount: 1),
      AdamWStep(
        learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0,
        gradientScale: 1, step: 1),
      parameters: &parameters, gradients: [1e-3, -40, 0], firstMoments: &first,
      secondMoments: &second, count: 3)
    #expect(largestDifference(parameters, [0.999, 1.001, 1]) < AdamWKernelTests.tolerance)
  }
}

@Suite struct ReductionKernelTests {
  /// In chunks of 4096, as norms of gradients are.
  private func squaredNorm(_ pool: ThreadPool, _ x: [Float]) -> Double {
    x.withUnsafeBufferPointer { x in
      var sum = ExactSum()
      let chunks = stride(from: 0, to: x.count, by: 4096).map { start in
        UnsafeBufferPointer(rebasing: x[start..<min(x.count, start + 4096)])
      }
      ReductionKernel.addSquaredNorms(pool, of: chunks, to: &sum)
      return sum.value
    }
  }

  @Test(arguments: [0, 1, 7, 8, 9, 1000, 65_535, 65_536, 65_537, 200_003])
  func squaredNormIsExactAndIndependentOfThreads(count: Int) {
    var values = TestValues(1)
    let x = values.floats(count)
    let expected = x.reduce(0.0) { $0 + Double($1) * Double($1) }
    let results = withEveryPool { squaredNorm($0, x) }
    // Squares of floats are exact in Double; only the order of the sum differs.
    #expect(abs(results[0] - expected) <= 1e-12 * expected)
    #expect(results.allSatisfy { $0 == results[0] })
  }

  @Test func hugeValuesDoNotOverflowAndBadOnesShow() {
    let pool = ThreadPool(threadCount: 2)
    let huge = [Float](repeating: 1e30, count: 100)
    let norm = squaredNorm(pool, huge)
    #expect(abs(norm - 1e62) < 1e56)
    for (place, bad) in [(0, Float.nan), (99, .infinity), (50, -.infinity)] {
      var x = [Float](repeating: 1, count: 100)
      x[place] = bad
      #expect(!squaredNorm(pool, x).isFinite)
      #expect(!ReductionKernel.isFinite(pool, x, count: 100))
    }
  }
}
