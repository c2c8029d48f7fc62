import Glibc
import TensorCore
import TestSupport
import Testing

@testable import NN

@Suite struct WarmupCosineScheduleTests {
  /// 300 epochs of 625 steps, 10 of them warm-up; the values are those of the official code.
  @Test func agreesWithTheOfficialSchedule() {
    let schedule = WarmupCosineSchedule(
      peak: 1.5e-3, minimum: 1e-5, warmupSteps: 6250, totalSteps: 187_500)
    #expect(schedule.value(at: 0) == 0)
    #expect(abs(schedule.value(at: 1) - 2.40038e-7) < 1e-12)
    #expect(abs(schedule.value(at: 6249) - 1.5e-3) < 1e-17)
    #expect(abs(schedule.value(at: 6250) - 1.5e-3) < 1e-17)
    #expect(abs(schedule.value(at: 100_000) - 7.14666514e-4) < 1e-12)
    #expect(abs(schedule.value(at: 187_499) - 1.0000000111910306e-05) < 1e-19)
  }

  @Test func shortWarmups() {
    let none = WarmupCosineSchedule(peak: 1, minimum: 0, warmupSteps: 0, totalSteps: 4)
    #expect(none.value(at: 0) == 1)
    #expect(abs(none.value(at: 2) - 0.5) < 1e-15)
    let one = WarmupCosineSchedule(peak: 1, minimum: 0, warmupSteps: 1, totalSteps: 4)
    #expect(one.value(at: 0) == 0)
    #expect(one.value(at: 1) == 1)
    let all = WarmupCosineSchedule(peak: 1, minimum: 0, warmupSteps: 3, totalSteps: 3)
    #expect((0..<3).map { all.value(at: $0) } == [0, 0.5, 1])
  }
}

@Suite struct AdamWTests {
  /// Three updates of parameters below 1, each rounded a few times to 6e-8.
  static let tolerance: Float = 1e-6

  /// A factor of 0.5 on some parameters: as if they had been trained alone at half the rate, to the
  /// bit.
  @Test func learningRatesAreScaledByParameter() throws {
    let names = ["w", "b", "v", "gamma"]
    func trained(rate: Double, _ scales: [String: Double]) throws -> [[Float]] {
      let model = model()
      model.tree.scaleLearningRates { scales[$0] ?? 1 }
      let optimizer = AdamW(
        AdamWConfiguration(clipNorm: 0), for: model.tree, allocator: HeapAllocator())
      for step in 1...3 {
        setGradients(model, seed: UInt64(step), range: -1...1)
        _ = try optimizer.update(
          model.parameters, gradients: model.gradients, gradientCount: 1, learningRate: rate,
          step: step, pool: model.pool)
      }
      return names.map { model.parameters.tensor(model[$0]).values }
    }
    let whole = try trained(rate: 0.01, [:])
    let half = try trained(rate: 0.005, [:])
    let mixed = try trained(rate: 0.01, ["b": 0.5, "v": 0.5])
    for (index, name) in names.enumerated() {
      let expected = ["b", "v"].contains(name) ? half : whole
      #expect(sameBits(mixed[index], expected[index]), "\(name)")
      #expect(!sameBits(half[index], whole[index]))
    }
  }

  private func model() -> TapeModel {
    TapeModel(["w": [5, 7], "b": [7], "v": [3, 3], "gamma": [19]])
  }

  private func setGradients(_ model: TapeModel, seed: UInt64, range: ClosedRange<Float>) {
    var values = TestValues(seed)
    for entry in model.tree.entries {
      model.gradients.pointer(entry.parameter).update(
        from: values.floats(entry.parameter.count, in: range), count: entry.parameter.count)
    }
  }

  /// Every parameter by PyTorch's formulas, in Double; `gradients` are means before clipping.
  private func reference(
    _ start: [Float], _ gradients: [[Double]], decays: Bool, _ settings: AdamWConfiguration
  ) -> [Float] {
    start.indices.map { index in
      var (p, m, v) = (Double(start[index]), 0.0, 0.0)
      for (step, gradient) in gradients.enumerated() {
        let (g, t) = (gradient[index], Double(step + 1))
        p *= 1 - settings.learningRate * (decays ? settings.weightDecay : 0)
        m = settings.beta1 * m + (1 - settings.beta1) * g
        v = settings.beta2 * v + (1 - settings.beta2) * g * g
        let root = (v / (1 - pow(settings.beta2, t))).squareRoot()
        p -= settings.learningRate * m / (1 - pow(settings.beta1, t)) / (root + settings.epsilon)
      }
      return Float(p)
    }
  }

  @Test(arguments: [0.0, 3.0])
  func updatesAgreeWithAScalarVersion(clipNorm: Double) throws {
    let model = model()
    let settings = AdamWConfiguration(learningRate: 1e-2, weightDecay: 0.3, clipNorm: clipNorm)
    let optimizer = AdamW(settings, for: model.tree, allocator: HeapAllocator())
    let entries = model.tree.entries
    let start = entries.map { model.parameters.tensor($0.parameter).values }
    var means: [[[Double]]] = entries.map { _ in [] }
    for step in 1...3 {
      // Two micro-batches; the norm of the first step is below 3, of the others above.
      setGradients(model, seed: UInt64(step), range: step == 1 ? -0.4...0.4 : -4...4)
      let sums = entries.map { model.gradients.tensor($0.parameter).values }
      let norm = euclideanNorm(Array(sums.joined())) / 2
      let clip = clipNorm > 0 ? min(1, clipNorm / (norm + 1e-6)) : 1
      #expect(step == 1 || norm > 3)
      for (index, sum) in sums.enumerated() {
        means[index].append(sum.map { Double($0) / 2 * clip })
      }
      let returned = try optimizer.update(
        model.parameters, gradients: model.gradients, gradientCount: 2,
        learningRate: settings.learningRate, step: step, pool: model.pool)
      #expect(abs(returned / norm - 1) < 1e-12)
    }
    #expect(entries.map(\.hasWeightDecay) == [true, false, true, false])
    for (index, entry) in entries.enumerated() {
      let expected = reference(
        start[index], means[index], decays: entry.hasWeightDecay, settings)
      let values = model.parameters.tensor(entry.parameter).values
      #expect(largestDifference(values, expected) < AdamWTests.tolerance, "\(entry.parameter.name)")
    }
  }

  @Test(arguments: [Float.nan, .infinity])
  func aGradientThatIsNotFiniteChangesNothing(bad: Float) throws {
    let model = model()
    let optimizer = AdamW(AdamWConfiguration(), for: model.tree, allocator: HeapAllocator())
    setGradients(model, seed: 1, range: -1...1)
    func update() throws -> Double {
      try optimizer.update(
        model.parameters, gradients: model.gradients, gradientCount: 1, learningRate: 1e-3,
        step: 1, pool: model.pool)
    }
    #expect(try update().isFinite)
    func state() -> [[Float]] {
      let all = model.parameters.memory(0..<model.parameters.count)
      let moments = [optimizer.firstMoments.memory[0], optimizer.secondMoments.memory[0]]
      return ([all] + moments).map(Array.init)
    }
    let before = state()
    model.gradients.pointer(model["v"])[4] = bad
    #expect(try !update().isFinite)
    #expect(state() == before)
  }
}

@Suite struct MomentumOptimizerTests {
  /// Published values, to the digits that Float has.
  static let tolerance: Float = 1e-6

  private func model(_ values: [String: [Float]]) -> TapeModel {
    let model = TapeModel(["w": [2, 2], "b": [2]])
    for (name, value) in values {
      model.parameters.pointer(model[name]).update(from: value, count: value.count)
    }
    return model
  }

  /// Two steps; the gradient of w grows, and the sums are of two ranks.
  private func run(_ model: TapeModel, _ optimizer: any MomentumOptimizer, learningRate: Float) {
    for step in [Float(1), 2] {
      for (name, gradient) in [("w", [0.02, -0.01, 0.03, 0.04]), ("b", [0.01, -0.02])] {
        let sums = gradient.map { Float($0) * 2 * (name == "w" ? step : 1) }
        model.gradients.pointer(model[name]).update(from: sums, count: sums.count)
      }
      optimizer.update(
        model.parameters, gradients: model.gradients, scale: 0.5, learningRate: learningRate)
    }
  }

  @Test func larsAgreesWithThePublishedCode() {
    let model = model(["w": [0.3, -0.2, 0.1, 0.4], "b": [0.05, -0.1]])
    run(model, LARS(for: model.tree), learningRate: 6.4)
    let w: [Float] = [
      0.2962953677904186, -0.19814768389520931, 0.09444305168562792, 0.39259073558083724,
    ]
    #expect(
      largestDifference(model.parameters.tensor(model["w"]).values, w) < Self.tolerance)
    #expect(
      largestDifference(model.parameters.tensor(model["b"]).values, [-0.1356, 0.2712])
        < Self.tolerance)
  }

  /// `m1 = g`, `p1 = p - lr 1.9 g`; `m2 = 0.9 g + g`, `p2 = p1 - lr (g + 0.9 m2)`.
  @Test func nesterovByTheFormula() {
    let model = model(["w": [0.3, -0.2, 0.1, 0.4], "b": [0.05, -0.1]])
    run(model, NesterovSGD(for: model.tree), learningRate: 0.5)
    let factor: Float = 0.5 * (1.9 + 1 + 0.9 * 1.9)
    let expected = [Float(0.05) - factor * 0.01, -0.1 + factor * 0.02]
    #expect(
      largestDifference(model.parameters.tensor(model["b"]).values, expected) < Self.tolerance)
  }

  @Test func epochScheduleOfTheLinearProbe() {
    let schedule = EpochSchedule(peak: 6.4, warmupEpochs: 10, epochs: 90)
    #expect(schedule.value(at: 0) == 0)
    #expect(schedule.value(at: 5) == 3.2)
    #expect(schedule.value(at: 10) == 6.4)
    #expect(abs(schedule.value(at: 50) - 3.2) < 1e-12)
    #expect(schedule.value(at: 90) < 1e-12)
  }
}
