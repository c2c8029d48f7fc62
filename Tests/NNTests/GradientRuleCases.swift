import NN
import TensorCore
import TestSupport

/// A small graph that exercises one gradient rule.
struct GradientRuleCase: Sendable {
  let label: String
  let parameters: @Sendable () -> TapeModel
  /// Leaves and the objective on them.
  let inputs: [Shape]
  let objective: @Sendable (TapeModel, Tape, [Variable]) -> ScalarVariable

  init(
    _ label: String, inputs: [Shape],
    parameters: @escaping @Sendable () -> TapeModel = { TapeModel() },
    objective: @escaping @Sendable (TapeModel, Tape, [Variable]) -> ScalarVariable
  ) {
    self.label = label
    self.inputs = inputs
    self.parameters = parameters
    self.objective = objective
  }
}

/// A scalar that weights all elements of `x` differently.
private func scalar(_ tape: Tape, _ x: Variable) -> ScalarVariable {
  var values = TestValues(99)
  return tape.meanSquaredError(x, target: .constant(values.tensor(x.shape, in: -2...2)))
}

extension GradientRuleCase {
  static let linear = [
    GradientRuleCase(
      "without bias", inputs: [[2, 3, 5]], parameters: { TapeModel(["w": [7, 5]]) },
      objective: { model, tape, x in scalar(tape, tape.linear(x[0], weight: model["w"])) }),
    GradientRuleCase(
      "bias and gelu", inputs: [[4, 9]], parameters: { TapeModel(["w": [11, 9], "b": [11]]) },
      objective: { model, tape, x in
        scalar(
          tape,
          tape.linear(
            x[0], weight: model["w"], bias: [BiasSlice(model["b"])], activation: .gelu))
      }),
    GradientRuleCase(
      "bias on the outer thirds", inputs: [[3, 4]],
      parameters: { TapeModel(["w": [9, 4], "q": [3], "v": [3]]) },
      objective: { model, tape, x in
        scalar(
          tape,
          tape.linear(
            x[0], weight: model["w"],
            bias: [BiasSlice(model["q"]), BiasSlice(start: 6, model["v"])]))
      }),
  ]

  static let batchNorm = [
    GradientRuleCase(
      "by the batch's own statistics", inputs: [[6, 5]],
      objective: { _, tape, x in
        let norm = BatchNorm(width: 5, epsilon: 1e-5)
        return scalar(tape, norm(x[0], .training, reducer: nil, tape))
      }),
    GradientRuleCase(
      "by constants", inputs: [[6, 5]],
      objective: { _, tape, x in
        let norm = BatchNorm(width: 5, epsilon: 1e-5)
        return scalar(tape, norm(x[0], .running, reducer: nil, tape))
      }),
  ]

  static let recomputed = [
    GradientRuleCase(
      "a part with two inputs, of which one is used outside as well",
      inputs: [[2, 3, 5], [2, 3, 5]],
      parameters: { TapeModel(["w": [5, 5], "b": [5], "norm": [5], "bias": [5]]) },
      objective: { model, tape, x in
        tape.keepsBlockInputsOnly = true
        let part = tape.checkpointed(x) { inputs in
          let y = tape.layerNorm(
            [inputs[0]], weight: model["norm"], bias: model["bias"], epsilon: 1e-6)
          let z = tape.linear(
            y, weight: model["w"], bias: [BiasSlice(model["b"])], activation: .gelu)
          return tape.residual(inputs[1], z, gamma: nil, sampleScale: nil)
        }
        return scalar(tape, tape.residual(part, x[1], gamma: nil, sampleScale: nil))
      })
  ]

  static let layerNorm = [
    GradientRuleCase(
      "one source", inputs: [[2, 3, 6]], parameters: { TapeModel(["w": [6], "b": [6]]) },
      objective: { model, tape, x in
        scalar(
          tape,
          tape.layerNorm([x[0]], weight: model["w"], bias: model["b"], epsilon: 1e-6))
      }),
    GradientRuleCase(
      "two sources and positions", inputs: [[2, 3, 9], [2, 2, 9]],
      parameters: { TapeModel(["w": [9], "b": [9]]) },
      objective: { model, tape, x in
        var values = TestValues(5)
        let positions = Positions(
          table: values.tensor([4, 9]), indices: values.indices(10, below: 4))
        return scalar(
          tape,
          tape.layerNorm(
            x, positions: positions, weight: model["w"], bias: model["b"], epsilon: 1e-6))
      }),
    GradientRuleCase(
      "the same source twice", inputs: [[2, 3, 5]],
      parameters: { TapeModel(["w": [5], "b": [5]]) },
      objective: { model, tape, x in
        scalar(
          tape,
          tape.layerNorm([x[0], x[0]], weight: model["w"], bias: model["b"], epsilon: 1e-6))
      }),
  ]

  static let attention = [
    GradientRuleCase(
      "thirds of one variable", inputs: [[2, 5, 18]],
      objective: { _, tape, x in
        scalar(
          tape,
          tape.attention(
            q: AttentionInput(x[0]), k: AttentionInput(x[0], column: 6),
            v: AttentionInput(x[0], column: 12), heads: 2, headDim: 3))
      }),
    GradientRuleCase(
      "queries over other tokens", inputs: [[2, 3, 8], [2, 5, 8], [2, 5, 8]],
      objective: { _, tape, x in
        scalar(
          tape,
          tape.attention(
            q: AttentionInput(x[0]), k: AttentionInput(x[1]), v: AttentionInput(x[2]), heads: 2,
            headDim: 4))
      }),
    GradientRuleCase(
      "keys and values without gradient", inputs: [[2, 4, 4]],
      objective: { _, tape, x in
        var values = TestValues(6)
        let (k, v) = (values.tensor([2, 4, 4]), values.tensor([2, 4, 4]))
        return scalar(
          tape,
          tape.attention(
            q: AttentionInput(x[0]), k: AttentionInput(.constant(k)),
            v: AttentionInput(.constant(v)), heads: 1, headDim: 4))
      }),
    GradientRuleCase(
      "one variable in all roles", inputs: [[2, 4, 6]],
      objective: { _, tape, x in
        let input = AttentionInput(x[0])
        return scalar(tape, tape.attention(q: input, k: input, v: input, heads: 2, headDim: 3))
      }),
    GradientRuleCase(
      "columns that nobody reads", inputs: [[2, 3, 9], [2, 4, 10]],
      objective: { _, tape, x in
        scalar(
          tape,
          tape.attention(
            q: AttentionInput(x[0], column: 2), k: AttentionInput(x[1], column: 1),
            v: AttentionInput(x[1], column: 5), heads: 1, headDim: 4))
      }),
    relativePositions("relative positions", batch: 3, rows: 2, columns: 3),
    relativePositions(
      "relative positions and more samples than groups", batch: 6, rows: 2, columns: 1),
  ]

  /// Tables of zeros and of other values differ in what the softmax makes of them.
  private static func relativePositions(
    _ label: String, batch: Int, rows: Int, columns: Int
  ) -> GradientRuleCase {
    let index = RelativePositionIndex(rows: rows, columns: columns)
    return GradientRuleCase(
      label, inputs: [[batch, index.tokens, 18]],
      parameters: { TapeModel(["table": [index.tableRows, 2]]) },
      objective: { model, tape, x in
        scalar(
          tape,
          tape.attention(
            q: AttentionInput(x[0]), k: AttentionInput(x[0], column: 6),
            v: AttentionInput(x[0], column: 12), heads: 2, headDim: 3,
            bias: RelativePositionBias(table: model["table"], index: index)))
      })
  }

  static let residual = [
    GradientRuleCase(
      "plain", inputs: [[2, 3, 5], [2, 3, 5]],
      objective: { _, tape, x in
        scalar(tape, tape.residual(x[0], x[1], gamma: nil, sampleScale: nil))
      }),
    GradientRuleCase(
      "layer scale and stochastic depth", inputs: [[3, 2, 9], [3, 2, 9]],
      parameters: { TapeModel(["gamma": [9]]) },
      objective: { model, tape, x in
        scalar(
          tape,
          tape.residual(
            x[0], x[1], gamma: model["gamma"],
            sampleScale: Tensor([1.25, 0, 1.25], shape: [3])))
      }),
    GradientRuleCase(
      "both operands the same", inputs: [[2, 2, 3]],
      parameters: { TapeModel(["gamma": [3]]) },
      objective: { model, tape, x in
        scalar(tape, tape.residual(x[0], x[0], gamma: model["gamma"], sampleScale: nil))
      }),
  ]

  static let addPositions = [
    GradientRuleCase(
      "without prefix", inputs: [[2, 3, 4]],
      objective: { _, tape, x in scalar(tape, tape.addPositions(x[0], positions(6, 4))) }),
    GradientRuleCase(
      "with prefix", inputs: [[2, 3, 4]], parameters: { TapeModel(["class": [1, 1, 4]]) },
      objective: { model, tape, x in
        scalar(tape, tape.addPositions(x[0], positions(6, 4), prefix: model["class"]))
      }),
  ]

  static let repeatToken = [
    GradientRuleCase(
      "over samples and rows", inputs: [], parameters: { TapeModel(["token": [1, 1, 5]]) },
      objective: { model, tape, _ in
        scalar(tape, tape.repeatToken(model["token"], batch: 2, count: 3))
      })
  ]

  static let sliceTokens = [
    GradientRuleCase(
      "the inner tokens", inputs: [[2, 5, 3]],
      objective: { _, tape, x in scalar(tape, tape.sliceTokens(x[0], start: 1, count: 3)) }),
    GradientRuleCase(
      "two overlapping slices", inputs: [[2, 4, 3]],
      objective: { _, tape, x in
        let left = tape.sliceTokens(x[0], start: 0, count: 3)
        let right = tape.sliceTokens(x[0], start: 1, count: 3)
        return scalar(tape, tape.residual(left, right, gamma: nil, sampleScale: nil))
      }),
  ]

  static let meanOfTokens = [
    GradientRuleCase(
      "behind the class token", inputs: [[3, 5, 4]],
      objective: { _, tape, x in scalar(tape, tape.meanOfTokens(x[0])) }),
    GradientRuleCase(
      "of all tokens", inputs: [[2, 3, 9]],
      objective: { _, tape, x in scalar(tape, tape.meanOfTokens(x[0], start: 0)) }),
  ]

  static let softCrossEntropy = [
    GradientRuleCase(
      "two classes and smoothing", inputs: [[4, 5]],
      objective: { _, tape, x in
        let targets = MixedTargets(
          first: TokenIndices([0, 4, 2, 1]), second: TokenIndices([1, 2, 4, 1]),
          firstShare: 0.3, smoothing: 0.1)
        return tape.crossEntropy(x[0], targets: targets).loss
      }),
    GradientRuleCase(
      "behind a linear layer", inputs: [[3, 4]], parameters: { TapeModel(["w": [9, 4]]) },
      objective: { model, tape, x in
        let targets = MixedTargets(
          first: TokenIndices([8, 0, 5]), second: TokenIndices([5, 0, 8]), firstShare: 0.8,
          smoothing: 0)
        return tape.crossEntropy(tape.linear(x[0], weight: model["w"]), targets: targets).loss
      }),
  ]

  static let crossEntropy = [
    GradientRuleCase(
      "five classes", inputs: [[2, 3, 5]],
      objective: { _, tape, x in
        tape.crossEntropy(x[0], targets: TokenIndices([0, 4, 2, 2, 1, 3])).loss
      }),
    GradientRuleCase(
      "behind a linear layer", inputs: [[3, 4]], parameters: { TapeModel(["w": [9, 4]]) },
      objective: { model, tape, x in
        tape.crossEntropy(
          tape.linear(x[0], weight: model["w"]), targets: TokenIndices([8, 0, 5])
        ).loss
      }),
  ]

  static let meanSquaredError = [
    GradientRuleCase(
      "one use", inputs: [[3, 7]], objective: { _, tape, x in scalar(tape, x[0]) }),
    GradientRuleCase(
      "added to another gradient", inputs: [[2, 3, 4]],
      objective: { _, tape, x in
        // The sum of two objectives on x, itself under a third.
        let first = scalar(tape, x[0]).variable.reshaped([1, 1, 1])
        let doubled = tape.residual(x[0], x[0], gamma: nil, sampleScale: nil)
        let second = scalar(tape, doubled).variable.reshaped([1, 1, 1])
        return scalar(tape, tape.residual(first, second, gamma: nil, sampleScale: nil))
      }),
  ]

  static let cosineDistance = [
    GradientRuleCase(
      "all tokens", inputs: [[2, 3, 5]],
      objective: { _, tape, x in
        var values = TestValues(17)
        return tape.cosineDistance(x[0], target: values.tensor([2, 3, 5]), counted: 0..<3)
      }),
    GradientRuleCase(
      "some tokens, behind a linear layer", inputs: [[2, 4, 3]],
      parameters: { TapeModel(["w": [9, 3]]) },
      objective: { model, tape, x in
        var values = TestValues(17)
        return tape.cosineDistance(
          tape.linear(x[0], weight: model["w"]), target: values.tensor([2, 4, 9]), counted: 1..<3)
      }),
  ]
}

private func positions(_ count: Int, _ columns: Int) -> Positions {
  var values = TestValues(7)
  return Positions(table: values.tensor([5, columns]), indices: values.indices(count, below: 5))
}
