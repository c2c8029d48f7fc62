import TensorCore
import TestSupport
import Testing

@testable import NN

@Suite struct ParameterTreeTests {
  @Test func offsetsAreWholeCacheLines() {
    let tree = ParameterTree()
    let shapes: [Shape] = [[1], [16], [17], [3, 5], [2, 2, 8]]
    let parameters = shapes.enumerated().map { tree.add("p\($0)", $1, .constant(0)) }
    #expect(parameters.map(\.offset) == [0, 16, 32, 64, 80])
    #expect(parameters.map(\.index) == [0, 1, 2, 3, 4])
    #expect(tree.flatCount == 112)
    #expect(tree.parameterCount == 1 + 16 + 17 + 15 + 32)
    #expect(tree.parameter(named: "p3")?.shape == [3, 5])
    #expect(tree.parameter(named: "p5") == nil)
  }

  @Test func weightsAndTokensDecayButNoVectorAndNoBias() {
    let tree = ParameterTree()
    let decays: [(String, Shape, Bool?)] = [
      ("encoder.blocks.0.attn.qkv.weight", [12, 4], nil), ("encoder.cls_token", [1, 1, 4], nil),
      ("patch.weight", [4, 3, 2, 2], nil), ("encoder.blocks.0.gamma_1", [4], nil),
      ("encoder.norm.weight", [4], nil), ("fc.bias", [4], nil), ("odd.bias", [4, 4], nil),
      ("table", [4, 4], false), ("vector", [4], true),
    ]
    for (name, shape, decay) in decays {
      _ = tree.add(name, shape, .constant(0), weightDecay: decay)
    }
    #expect(
      tree.entries.map(\.hasWeightDecay)
        == [true, true, true, false, false, false, false, false, true])
  }

  @Test func aNameIsRegisteredOnce() async {
    await #expect(processExitsWith: .failure) {
      let tree = ParameterTree()
      _ = tree.add("w", [2], .constant(0))
      _ = tree.add("w", [3], .constant(0))
    }
  }

  @Test func tensorsAreViewsOfTheFlatBuffer() {
    let model = TapeModel(["a": [3], "b": [2, 2]])
    model.parameters.tensor(model["b"]).pointer[1] = 42
    #expect(model.parameters.pointer[17] == 42)
    #expect(model.parameters.pointer(model["b"])[1] == 42)
  }
}

@Suite struct InitializerTests {
  private func draw(_ initializer: Initializer, count: Int) -> [Float] {
    let tree = ParameterTree()
    _ = tree.add("w", [count], initializer)
    let buffer = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "test")
    buffer.initialize(tree, seed: 7)
    return buffer.tensor(tree.entries[0].parameter).values
  }

  private func deviation(_ values: [Float]) -> Double {
    euclideanNorm(values) / Double(values.count).squareRoot()
  }

  /// 200,000 draws know their standard deviation to 0.2 %: five standard errors are 1 %.
  private let relativeTolerance = 0.01

  /// Cut at one sigma, a normal distribution has 0.5396 of its standard deviation left.
  @Test func tokensAreCutAtOneSigma() {
    let values = draw(.token, count: 200_000)
    #expect(values.allSatisfy { abs($0) <= 0.02 })
    #expect(abs(deviation(values) / 0.01079 - 1) < relativeTolerance)
    let mean = values.reduce(0.0) { $0 + Double($1) } / 200_000
    #expect(abs(mean) < 5 * 0.01079 / 200_000.0.squareRoot())
  }

  @Test func aWideCutKeepsTheWholeDistribution() {
    let values = draw(
      .truncatedNormal(standardDeviation: 2, cut: 5, scale: 0.25), count: 200_000)
    #expect(values.allSatisfy { abs($0) <= 2.5 })
    #expect(abs(deviation(values) / 0.5 - 1) < relativeTolerance)
    // A third of a normal distribution lies outside of one sigma.
    let outside = Double(values.count { abs($0) > 0.5 }) / 200_000
    #expect(abs(outside - 0.3173) < 0.006)
  }

  @Test(arguments: [(768, 2304, 0.04419), (768, 768, 0.0625), (768, 3072, 0.03953)])
  func xavierFillsItsRangeEvenly(fanIn: Int, fanOut: Int, bound: Double) {
    let values = draw(.xavierUniform(fanIn: fanIn, fanOut: fanOut), count: 200_000)
    let largest = Double(values.map(abs).max()!)
    #expect(abs(largest / bound - 1) < 1e-3)
    #expect(abs(deviation(values) * 3.0.squareRoot() / bound - 1) < relativeTolerance)
  }

  @Test func theQuantileInvertsTheDistribution() {
    // Known quantiles of the normal distribution.
    for (quantile, x) in [
      (0.5, 0), (0.841344746068543, 1), (0.975, 1.959963984540054), (1e-6, -4.753424308822899),
    ] {
      #expect(abs(Initializer.normalQuantile(quantile) - x) < 1e-10)
    }
  }

  @Test func aValueDependsOnSeedAndNameOnly() {
    func values(_ names: [String], seed: UInt64) -> [String: [Float]] {
      let tree = ParameterTree()
      for name in names { _ = tree.add(name, [40], .token) }
      let buffer = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "test")
      buffer.initialize(tree, seed: seed)
      return Dictionary(
        uniqueKeysWithValues: tree.entries.map {
          ($0.parameter.name, buffer.tensor($0.parameter).values)
        })
    }
    let (few, more) = (values(["a", "b"], seed: 1), values(["c", "b", "a"], seed: 1))
    #expect(few["a"] == more["a"])
    #expect(few["b"] == more["b"])
    #expect(few["a"] != few["b"])
    #expect(values(["a", "b"], seed: 2)["a"] != few["a"])
    #expect(values(["a", "b"], seed: 1) == few)
  }

  /// Both schemes of CAE: see "how a vision transformer's weights start".
  @Test func outputProjectionsShrinkWithTheirBlock() {
    let scheme = InitializationScheme.truncatedNormal
    #expect(
      scheme.linear(fanIn: 8, fanOut: 8)
        == .truncatedNormal(standardDeviation: 0.02, cut: 1, scale: 1))
    #expect(
      scheme.linear(fanIn: 8, fanOut: 8, outputOfBlock: 1)
        == .truncatedNormal(standardDeviation: 0.02, cut: 1, scale: 0.5))
    #expect(
      InitializationScheme.xavier.linear(fanIn: 8, fanOut: 4, outputOfBlock: 1)
        == .xavierUniform(fanIn: 8, fanOut: 4))
  }
}
