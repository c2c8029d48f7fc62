import Interfaces
import TensorCore
import TestSupport
import Testing

@testable import NN

/// The gradient rules by name. A new case of `Operation` does not compile until it is here, and a
/// new case here not until it has graphs to check.
enum RuleName: String, CaseIterable, Sendable {
  case linear, layerNorm, attention, residual, addPositions, repeatToken, sliceTokens
  case meanOfTokens, crossEntropy, softCrossEntropy, meanSquaredError
  case cosineDistance, batchNorm, recomputed

  init(_ operation: NN.Operation) {
    switch operation {
    case .linear: self = .linear
    case .layerNorm: self = .layerNorm
    case .attention: self = .attention
    case .residual: self = .residual
    case .addPositions: self = .addPositions
    case .repeatToken: self = .repeatToken
    case .sliceTokens: self = .sliceTokens
    case .meanOfTokens: self = .meanOfTokens
    case .crossEntropy: self = .crossEntropy
    case .softCrossEntropy: self = .softCrossEntropy
    case .meanSquaredError: self = .meanSquaredError
    case .cosineDistance: self = .cosineDistance
    case .batchNorm: self = .batchNorm
    case .recomputed: self = .recomputed
    }
  }

  var cases: [GradientRuleCase] {
    switch self {
    case .linear: GradientRuleCase.linear
    case .layerNorm: GradientRuleCase.layerNorm
    case .attention: GradientRuleCase.attention
    case .residual: GradientRuleCase.residual
    case .addPositions: GradientRuleCase.addPositions
    case .repeatToken: GradientRuleCase.repeatToken
    case .sliceTokens: GradientRuleCase.sliceTokens
    case .meanOfTokens: GradientRuleCase.meanOfTokens
    case .crossEntropy: GradientRuleCase.crossEntropy
    case .softCrossEntropy: GradientRuleCase.softCrossEntropy
    case .meanSquaredError: GradientRuleCase.meanSquaredError
    case .cosineDistance: GradientRuleCase.cosineDistance
    case .batchNorm: GradientRuleCase.batchNorm
    case .recomputed: GradientRuleCase.recomputed
    }
  }
}

@Suite struct GradientRulesTests {
  @Test(arguments: RuleName.allCases)
  func gradientsAgreeWithDifferences(rule: RuleName) {
    #expect(!rule.cases.isEmpty)
    for test in rule.cases {
      let model = test.parameters()
      var values = TestValues(3)
      let inputs = test.inputs.map { values.tensor($0) }
      let check = GradientCheck(model.tree, model.parameters, pool: model.pool) { tape, leaves in
        test.objective(model, tape, leaves)
      }
      var recorded: Set<RuleName> = []
      let findings = check.findings(inputs: inputs) { tape in
        recorded = Set(tape.nodes.map { RuleName($0.operation) })
      }
      #expect(recorded.contains(rule), "\(test.label) does not use the rule")
      #expect(!findings.isEmpty)
      for finding in findings {
        #expect(
          finding.relativeError < GradientCheck.tolerance, "\(rule), \(test.label): \(finding)")
        #expect(finding.norm > 0, "\(rule), \(test.label): \(finding) has no gradient")
      }
    }
  }

  /// The check itself: a rule that is wrong by 2 % does not get through.
  @Test func theCheckFindsAWrongGradient() {
    let model = TapeModel(["w": [4, 3]])
    var values = TestValues(3)
    let check = GradientCheck(model.tree, model.parameters, pool: model.pool) { tape, x in
      let loss = tape.meanSquaredError(
        tape.linear(x[0], weight: model["w"]),
        target: .constant(Tensor(repeating: 0.3, shape: [2, 4])))
      return ScalarVariable(value: 1.02 * loss.value, variable: loss.variable)
    }
    let findings = check.findings(inputs: [values.tensor([2, 3])])
    #expect(findings.contains { $0.relativeError > GradientCheck.tolerance })
  }

  /// All rules at once, through the layers of a transformer.
  @Test func aStackOfLayersAgreesWithDifferences() {
    let tree = ParameterTree()
    let stack = TransformerStack(
      "blocks",
      BlockConfiguration(width: 8, heads: 2, mlpRatio: 2, layerScaleInit: 0.5, scheme: .xavier),
      depth: 2, dropPathRate: 0, in: tree)
    let norm = LayerNorm("norm", 8, in: tree)
    let parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
    var values = TestValues(8)
    parameters.initialize(tree, seed: 4)
    for entry in tree.entries where entry.parameter.name.hasSuffix("bias") {
      parameters.pointer(entry.parameter).update(
        from: values.floats(entry.parameter.count), count: entry.parameter.count)
    }
    let target = values.tensor([2, 3, 8])
    let check = GradientCheck(tree, parameters, pool: ThreadPool(threadCount: 2)) { tape, x in
      let context = ForwardContext(
        tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
      return tape.meanSquaredError(
        norm(stack(x[0], context, branch: 0), tape), target: .constant(target))
    }
    for finding in check.findings(inputs: [values.tensor([2, 3, 8])]) {
      #expect(finding.relativeError < GradientCheck.tolerance, "\(finding)")
    }
  }
}
