import Interfaces
import Models
import NN
import TensorCore
import TestSupport
import Testing

/// CAE as the trainer sees it, at toy size.
private struct ToyMethod {
  let method: CAE
  let parameters: FlatBuffer
  let pool = ThreadPool(threadCount: 2)

  static let view = ViewSpecification(
    size: 16, filter: .bicubic, mean: [0, 0, 0], standardDeviation: [1, 1, 1])

  static func model(dropPathRate: Double = 0) -> VisionTransformerConfiguration {
    VisionTransformerConfiguration(
      imageSize: 16, patchSize: 4, embedDim: 8, depth: 3, numHeads: 2, layerScaleInit: 0.5,
      dropPathRate: dropPathRate)
  }

  static func configuration() -> CAE.Configuration {
    var configuration = CAE.Configuration()
    configuration.numMaskedPatches = 7
    configuration.minimumMaskBlock = 2
    configuration.decoderDim = 8
    configuration.decoderHeads = 2
    configuration.regressorDepth = 1
    configuration.decoderDepth = 1
    configuration.decoderLayerScaleInit = 0.5
    return configuration
  }

  init(
    _ configuration: CAE.Configuration = configuration(),
    model: VisionTransformerConfiguration = model(), tokenizerView: ViewSpecification = view
  ) throws {
    var values = TestValues(1)
    let values48 = values.tensor([10, 48])
    let tokenizer = try KMeansTokenizer(
      Codebook(values48), of: StandardizedPatches(patchSize: 4, view: tokenizerView))
    let context = MethodContext(
      model: model, encoderView: ToyMethod.view,
      openTokens: { (_) throws(ConfigurationError) in .computed(tokenizer) },
      openFeatures: { (path) throws(ConfigurationError) in
        throw ConfigurationError("method.teacher", path)
      })
    method = try CAE(configuration, context)
    parameters = FlatBuffer(
      for: method.parameters, allocator: HeapAllocator(), purpose: "parameters")
    parameters.initialize(method.parameters, seed: 3)
  }

  func batch(_ samples: Range<Int>, epoch: Int = 0) -> Batch {
    let images = samples.map { sample in
      var values = TestValues(UInt64(100 + sample))
      return values.floats(768)
    }
    return Batch(
      keys: samples.map { SampleKey(epoch: epoch, sample: $0) },
      views: [Tensor(Array(images.joined()), shape: [samples.count, 3, 16, 16])],
      labels: samples.map { _ in 0 })
  }

  func losses(_ batch: Batch, seed: UInt64 = 1, isTraining: Bool = true) -> [Double] {
    let context = ForwardContext(
      tape: Tape(parameters: parameters, pool: pool), keys: batch.keys,
      step: StepInfo(step: 0, totalSteps: 1, seed: seed, isTraining: isTraining))
    return method.losses(for: batch, context).terms.map(\.loss.value)
  }
}

@Suite struct CAETests {
  /// Losses of size 2 in Float.
  static let tolerance = 1e-5

  @Test func termsAndFiguresHaveTheirNamesAndWeights() throws {
    let toy = try ToyMethod()
    let batch = toy.batch(0..<4)
    let output = toy.method.losses(
      for: batch,
      ForwardContext(
        tape: Tape(parameters: toy.parameters, pool: toy.pool), keys: batch.keys,
        step: StepInfo(step: 0, totalSteps: 1, seed: 1)))
    #expect(output.terms.map(\.name) == ["Reconstruction", "Alignment"])
    #expect(output.terms.map(\.weight) == [1, 2])
    #expect(output.scalars.map(\.name) == ["tokenAccuracy"])
    #expect((0...1).contains(output.scalars[0].value))
    #expect(toy.method.views == [ToyMethod.view])
    #expect(toy.method.buffers.map(\.name) == ["encoder.pos_embed", "rd_pos_embed"])
    #expect(MethodRegistry.all.map { $0.name } == ["cae", "cae-v2", "supervised"])
  }

  @Test(arguments: [MaskKind.block, .random])
  func aSampleCountsTheSameInAnyBatch(mask: MaskKind) throws {
    var configuration = ToyMethod.configuration()
    configuration.mask = mask
    let toy = try ToyMethod(configuration, model: ToyMethod.model(dropPathRate: 0.4))
    let together = toy.losses(toy.batch(0..<6))
    let alone = (0..<6).map { toy.losses(toy.batch($0..<$0 + 1)) }
    for term in 0..<2 {
      let mean = alone.reduce(0) { $0 + $1[term] } / 6
      #expect(abs(mean - together[term]) < CAETests.tolerance)
    }
    #expect(toy.losses(toy.batch(0..<6)) == together)
    #expect(toy.losses(toy.batch(0..<6, epoch: 1)) != together)
    #expect(toy.losses(toy.batch(0..<6), seed: 2) != together)
  }

  @Test func stochasticDepthActsInTrainingOnly() throws {
    let plain = try ToyMethod()
    let dropping = try ToyMethod(model: ToyMethod.model(dropPathRate: 0.5))
    let batch = plain.batch(0..<6)
    let held = plain.losses(batch, isTraining: false)
    #expect(plain.losses(batch) == held)
    #expect(dropping.losses(batch, isTraining: false) == held)
    #expect(dropping.losses(batch) != held)
  }

  @Test func aTokenizerWithItsOwnViewGetsASecondPicture() throws {
    let view = ViewSpecification(
      size: 16, filter: .lanczos, mean: [0, 0, 0], standardDeviation: [1, 1, 1])
    let toy = try ToyMethod(tokenizerView: view)
    #expect(toy.method.views == [ToyMethod.view, view])
  }

  /// Key and text of what a user may get wrong.
  @Test func configurationsOfNoModelAreRefused() throws {
    func refusal(
      model: VisionTransformerConfiguration = ToyMethod.model(),
      view: ViewSpecification = ToyMethod.view,
      _ change: (inout CAE.Configuration) -> Void = { _ in }
    ) -> String? {
      var configuration = ToyMethod.configuration()
      change(&configuration)
      return #expect(throws: ConfigurationError.self) {
        try ToyMethod(configuration, model: model, tokenizerView: view)
      }?.keyPath
    }
    #expect(refusal { $0.decoderDim = 6 } == "method.decoderDim")
    #expect(refusal { $0.decoderHeads = 3 } == "method.decoderHeads")
    #expect(refusal { $0.decoderHeads = 0 } == "method.decoderHeads")
    #expect(refusal { $0.regressorDepth = 0 } == "method.regressorDepth")
    #expect(refusal { $0.decoderDepth = -1 } == "method.decoderDepth")
    #expect(refusal { $0.alignmentWeight = -1 } == "method")
    #expect(refusal { $0.numMaskedPatches = 16 } == "method.numMaskedPatches")
    var model = ToyMethod.model()
    model.patchSize = 5
    #expect(refusal(model: model) == "model.patchSize")
    var view = ToyMethod.view
    view.size = 32
    #expect(refusal(view: view) == "method.tokenizer")
  }
}

@Suite struct TargetBranchTests {
  /// Target latents, and what the encoder gives for the same patches with its own draws.
  private func latents(
    dropPathRate: Double, isTraining: Bool
  ) -> (target: [Float], encoder: [Float]) {
    let model = ToyMethod.model(dropPathRate: dropPathRate)
    let tree = ParameterTree()
    let network = CAENetwork(model, ToyMethod.configuration(), vocabularySize: 10, in: tree)
    let parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
    parameters.initialize(tree, seed: 5)
    // The same encoder once more: its parameters have the same places behind the mask query.
    let twin = ParameterTree()
    _ = twin.add("mask_token", [1, 1, 8], .token)
    let encoder = VisionTransformer("encoder", model, scheme: .xavier, in: twin)
    var values = TestValues(6)
    let images = values.tensor([6, 3, 16, 16])
    let mask = PatchMask(rows: (0..<6).map { row in (0..<16).map { ($0 + row) % 2 == 0 } })
    let tape = Tape(parameters: parameters, pool: ThreadPool(threadCount: 2))
    let context = ForwardContext(
      tape: tape, keys: (0..<6).map { SampleKey(epoch: 0, sample: $0) },
      step: StepInfo(step: 0, totalSteps: 1, seed: 1, isTraining: isTraining))
    let result = network.forward(
      images: images, mask: mask, targets: TokenIndices([Int32](repeating: 0, count: 48)), context)
    let encoded = tape.sliceTokens(
      encoder(images, patches: mask.masked, context, branch: 0), start: 1, count: 8)
    return (result.targetLatents.value.values, encoded.value.values)
  }

  @Test func theTargetIsTheEncoderOnTheMaskedPatches() {
    let (target, encoder) = latents(dropPathRate: 0.5, isTraining: false)
    #expect(sameBits(target, encoder))
    #expect(target.contains { abs($0) > 0.1 })
  }

  /// Two blocks of the encoder drop two branches each with probability 1/4 and 1/2: that all draws
  /// of six samples agree by chance has a probability below 1e-8.
  @Test func theTargetDrawsItsOwnStochasticDepth() {
    let (target, encoder) = latents(dropPathRate: 0.5, isTraining: true)
    #expect(largestDifference(target, encoder) > 0.01)
    #expect(sameBits(latents(dropPathRate: 0.5, isTraining: true).target, target))
  }

  @Test(arguments: [16, 24]) func checkpointedBlocksGiveTheSameBits(decoderDim: Int) {
    let (plain, checkpointed) = (
      ToyModel(decoderDim: decoderDim), ToyModel(decoderDim: decoderDim)
    )
    let (first, second) = (plain.step(), checkpointed.step(keepsBlockInputsOnly: true))
    #expect(first.reconstruction == second.reconstruction)
    #expect(first.alignment == second.alignment)
    for entry in plain.tree.entries {
      let name = entry.parameter.name
      #expect(sameBits(plain.gradient(name), checkpointed.gradient(name)), "\(name)")
    }
  }

  @Test func theTargetHasNoGradient() {
    let model = ToyModel(decoderDim: 24)
    let tape = Tape(parameters: model.parameters, pool: model.pool)
    let context = ForwardContext(
      tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    let result = model.network.forward(
      images: ToyModel.images, mask: ToyModel.mask, targets: ToyModel.targets, context)
    #expect(!result.targetLatents.needsGradient)
    #expect(result.predictedLatents.needsGradient)
  }
}
