import HDF5
import Interfaces
import NN
import TensorCore
import TestSupport
import Testing

@testable import Models

/// A fine-tuning model with its weights.
private struct FineTuning {
  let tree = ParameterTree()
  let model: FineTuneModel
  let parameters: FlatBuffer
  let pool = ThreadPool(threadCount: 2)

  init(_ configuration: VisionTransformerConfiguration = ToyModel.encoder, classes: Int = 5) {
    model = FineTuneModel(
      configuration, classes: classes, layerDecay: 0.65, scheme: .xavier, in: tree)
    parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
  }

  func logits(_ tape: Tape, _ images: Tensor) -> Variable {
    let context = ForwardContext(
      tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    return model(images, context)
  }

  static let targets = MixedTargets(
    first: TokenIndices([3, 1]), second: TokenIndices([1, 3]), firstShare: 0.7, smoothing: 0.1)

  /// Loss, logits, and the gradient of every parameter.
  func run(
    _ images: Tensor, keepsBlockInputsOnly: Bool = false
  ) -> (loss: Double, logits: [Float], gradients: FlatBuffer) {
    let gradients = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "gradients")
    let tape = Tape(parameters: parameters, pool: pool)
    tape.keepsBlockInputsOnly = keepsBlockInputsOnly
    let logits = logits(tape, images)
    // Backward overwrites them.
    let values = logits.value.values
    let loss = tape.crossEntropy(logits, targets: FineTuning.targets).loss
    tape.backward(from: [(loss.variable, 1)], into: FlatGradientSink(gradients, for: tree))
    return (loss.value, values, gradients)
  }
}

@Suite struct FineTuneModelTests {
  /// Of the largest logit, and of each gradient's norm; the reference is Float64.
  static let tolerance = 2e-5

  /// timm's BEiT with the same weights, relative position tables included; made by
  /// Scripts/reference/fine-tuning.py.
  @Test func lossLogitsAndGradientsAreTimms() throws {
    let root = try HDF5File(path: GoldenFile.path("fine-tuning.h5"), .readOnly).root
    let toy = FineTuning()
    DeterministicFill.fill(toy.parameters, toy.tree)
    let result = toy.run(ToyModel.images)
    let expected: [Float] = try root.dataset("logits").read()
    let limit = Float(FineTuneModelTests.tolerance) * (expected.map(abs).max() ?? 0)
    #expect(largestDifference(result.logits, expected) < limit)
    let loss: [Double] = try root.dataset("loss").read()
    #expect(abs(result.loss - loss[0]) < 1e-6)
    var largest = 0.0
    for entry in toy.tree.entries {
      let name = entry.parameter.name
      let gradient: [Float] = try root.dataset("gradient/" + name).read()
      let own = result.gradients.tensor(entry.parameter).values
      let error = euclideanNorm(zip(own, gradient).map { $0 - $1 }) / euclideanNorm(gradient)
      #expect(error < FineTuneModelTests.tolerance, "\(name)")
      largest = max(largest, error)
    }
    // Something is compared, and the reference has no gradient by chance.
    #expect(largest > 0)
    let again = toy.run(ToyModel.images, keepsBlockInputsOnly: true)
    #expect(sameBits(again.logits, result.logits))
    for entry in toy.tree.entries {
      #expect(
        sameBits(
          again.gradients.tensor(entry.parameter).values,
          result.gradients.tensor(entry.parameter).values), "\(entry.parameter.name)")
    }
  }

  @Test func gradientsAgreeWithDifferences() {
    let configuration = VisionTransformerConfiguration(
      imageSize: 6, patchSize: 2, channels: 1, embedDim: 8, depth: 1, numHeads: 2, mlpRatio: 2,
      layerScaleInit: 0.5, dropPathRate: 0)
    let toy = FineTuning(configuration)
    var values = TestValues(2)
    for entry in toy.tree.entries {
      toy.parameters.pointer(entry.parameter).update(
        from: values.floats(entry.parameter.count, in: -0.5...0.5), count: entry.parameter.count)
    }
    let images = values.tensor([2, 1, 6, 6])
    let check = GradientCheck(toy.tree, toy.parameters, pool: toy.pool) { tape, _ in
      tape.crossEntropy(toy.logits(tape, images), targets: FineTuning.targets).loss
    }
    let findings = check.findings(inputs: [])
    #expect(Set(findings.map(\.name)).count == toy.tree.entries.count)
    for finding in findings {
      #expect(finding.relativeError < GradientCheck.tolerance, "\(finding)")
    }
  }

  /// Tables start at zero, which changes no logit: those of an encoder without tables, to the bit.
  @Test func tablesOfZerosChangeNothing() throws {
    let toy = FineTuning()
    toy.parameters.initialize(toy.tree, seed: 3)
    let logits = toy.run(ToyModel.images).logits
    let plain = ParameterTree()
    let encoder = VisionTransformer(
      "", ToyModel.encoder, scheme: .xavier,
      options: .init(hasRelativePositionBias: false, hasFinalNorm: false), in: plain)
    let norm = LayerNorm("fc_norm", 16, in: plain)
    let head = Linear("head", inputs: 16, outputs: 5, in: plain, .xavier)
    let parameters = FlatBuffer(for: plain, allocator: HeapAllocator(), purpose: "parameters")
    for entry in plain.entries {
      let source = try #require(toy.tree.parameter(named: entry.parameter.name))
      parameters.pointer(entry.parameter).update(
        from: toy.parameters.pointer(source), count: source.count)
    }
    let tape = Tape(parameters: parameters, pool: toy.pool)
    let context = ForwardContext(
      tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    let patches = (0..<32).map { Int32($0 % 16) }
    let tokens = encoder(ToyModel.images, patches: patches, context, branch: 0)
    let expected = head(norm(tape.meanOfTokens(tokens), tape), tape).value.values
    #expect(logits == expected)
  }

  // MARK: Parameters

  /// 86,682,280 with the table of positions, which is not trained.
  @Test func thePublishedModelHasItsSizeAndNames() {
    let tree = FineTuning(.base, classes: 1000).tree
    #expect(tree.parameterCount == 86_530_984)
    let names = tree.entries.map(\.parameter.name)
    #expect(names.prefix(3) == ["cls_token", "patch_embed.proj.weight", "patch_embed.proj.bias"])
    #expect(names.suffix(4) == ["fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"])
    #expect(!names.contains { $0.hasPrefix("norm.") || $0.hasPrefix(".") })
    for block in 0..<12 {
      let name = "blocks.\(block).attn.relative_position_bias_table"
      #expect(tree.parameter(named: name)?.shape == [732, 12])
    }
    #expect(names.count == 3 + 12 * 16 + 4)
  }

  @Test func learningRatesFallFromTheHeadToThePatches() {
    let tree = FineTuning(.base, classes: 10).tree
    func scale(_ name: String) -> Double {
      tree.entries.first { $0.parameter.name == name }?.learningRateScale ?? .nan
    }
    #expect(scale("head.weight") == 1 && scale("fc_norm.bias") == 1)
    #expect(scale("blocks.11.mlp.fc1.weight") == 0.65)
    #expect(abs(scale("blocks.0.attn.relative_position_bias_table") - 0.005688) < 1e-6)
    #expect(abs(scale("cls_token") - 0.003697) < 1e-6)
    #expect(scale("patch_embed.proj.bias") == scale("cls_token"))
    #expect(
      FineTuneModel.learningRateScale(of: "blocks.23.norm1.bias", depth: 24, layerDecay: 0.75)
        == 0.75)
  }

  @Test func theClassTokenIsNotDecayedButTablesAre() {
    let decayed = FineTuning().tree.entries.filter(\.hasWeightDecay).map(\.parameter.name)
    #expect(!decayed.contains("cls_token"))
    #expect(decayed.contains("blocks.0.attn.relative_position_bias_table"))
    #expect(decayed.contains("head.weight") && decayed.contains("patch_embed.proj.weight"))
    #expect(decayed.allSatisfy { !$0.hasSuffix("bias") && !$0.contains("norm") })
  }

  /// Standard deviation 2e-5, as good as not cut.
  @Test func theHeadStartsSmall() throws {
    let toy = FineTuning(classes: 1000)
    toy.parameters.initialize(toy.tree, seed: 1)
    let weight = try #require(toy.tree.parameter(named: "head.weight"))
    let values = toy.parameters.tensor(weight).values
    let deviation = euclideanNorm(values) / Double(values.count).squareRoot()
    #expect(abs(deviation - 2e-5) < 5e-7)
    #expect(values.contains { abs($0) > 6e-5 })
    #expect(values.allSatisfy { abs($0) < 1.1e-4 })
    let bias = try #require(toy.tree.parameter(named: "head.bias"))
    #expect(toy.parameters.tensor(bias).values.allSatisfy { $0 == 0 })
  }

  @Test func namesOfPretraining() {
    func name(_ own: String) -> String? { FineTuneModel.pretrainedName(of: own) }
    #expect(name("fc_norm.weight") == "encoder.norm.weight")
    #expect(name("blocks.3.norm1.bias") == "encoder.blocks.3.norm1.bias")
    #expect(name("cls_token") == "encoder.cls_token")
    // All but tables and head come from pretraining, and all of the encoder is taken.
    let tree = ParameterTree()
    _ = VisionTransformer("encoder", ToyModel.encoder, scheme: .xavier, in: tree)
    let names = FineTuning().tree.entries.map(\.parameter.name)
    #expect(Set(names.compactMap(name)) == Set(tree.entries.map(\.parameter.name)))
    #expect(
      names.filter { name($0) == nil } == [
        "blocks.0.attn.relative_position_bias_table",
        "blocks.1.attn.relative_position_bias_table", "head.weight", "head.bias",
      ])
  }
}
