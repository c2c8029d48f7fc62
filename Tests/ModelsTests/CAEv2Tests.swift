import Glibc
import Interfaces
import Models
import NN
import TensorCore
import TestSupport
import Testing

/// CAE v2 at the size of `ToyModel`, a head of 12 values.
private struct ToyVersion2 {
  let tree = ParameterTree()
  let network: CAEv2Network
  let parameters: FlatBuffer
  let gradients: FlatBuffer
  let pool = ThreadPool(threadCount: 2)

  /// `cos(0.7 i + 0.1 sin i)` over `[2, 17, 12]`, the class token first.
  static var targets: Tensor {
    let values = (0..<2 * 17 * 12).map { index -> Float in
      Float(cos(0.7 * Double(index) + 0.1 * sin(Double(index))))
    }
    return Tensor(values, shape: [2, 17, 12])
  }

  static func configuration(
    decoderDim: Int, _ supervision: CAEv2.Configuration.Supervision = .both
  ) -> CAEv2.Configuration {
    var configuration = CAEv2.Configuration()
    (configuration.numMaskedPatches, configuration.minimumMaskBlock) = (8, 2)
    (configuration.decoderDim, configuration.decoderHeads) = (decoderDim, 2)
    configuration.regressorDepth = 1
    configuration.supervision = supervision
    return configuration
  }

  init(decoderDim: Int, _ supervision: CAEv2.Configuration.Supervision = .both) {
    network = CAEv2Network(
      ToyModel.encoder, ToyVersion2.configuration(decoderDim: decoderDim, supervision),
      targetWidth: 12, in: tree)
    parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
    gradients = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "gradients")
    DeterministicFill.fill(parameters, tree)
  }

  func step() -> (loss: Double, features: [Float]) {
    let tape = Tape(parameters: parameters, pool: pool)
    let context = ForwardContext(
      tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    let result = network.forward(
      images: ToyModel.images, mask: ToyModel.mask, targets: ToyVersion2.targets, context)
    let features = result.features.value.values
    let sink = FlatGradientSink(gradients, for: tree)
    sink.beginStep()
    tape.backward(from: [(result.loss.variable, 1)], into: sink)
    sink.endStep()
    return (result.loss.value, features)
  }

  func norm(_ name: String) -> Double {
    tree.parameter(named: name).map { euclideanNorm(gradients.tensor($0).values) } ?? .nan
  }

  var gradientNorm: Double {
    tree.entries.reduce(0) { $0 + pow(norm($1.parameter.name), 2) }.squareRoot()
  }
}

/// A teacher whose features are the pixels' own.
private final class ToyTeacher: FeatureTeacher {
  let width = 6
  let flopsPerImage = 0.0
  let grid: Int
  let view: ViewSpecification

  init(grid: Int, view: ViewSpecification) { (self.grid, self.view) = (grid, view) }

  func features(of images: Tensor, pool: ThreadPool) -> Tensor {
    let (batch, count) = (images.shape[0], (1 + grid * grid) * width)
    let pixels = images.count / batch
    return Tensor(
      (0..<batch * count).map { images.values[$0 / count * pixels + $0 % count % pixels] },
      shape: [batch, 1 + grid * grid, width])
  }
}

@Suite struct CAEv2Tests {
  private func expectClose(_ value: Double, _ expected: Double, _ limit: Double, _ name: String) {
    #expect(abs(value / expected - 1) < limit, "\(name): \(value)")
  }

  private func unit(_ features: [Float]) -> [Float] {
    let first = features.prefix(12)
    let length = first.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return first.prefix(3).map { $0 / length }
  }

  // Numbers of the authors' code, computed in Double.

  @Test func regressorOfTheEncodersWidth() {
    let model = ToyVersion2(decoderDim: 16)
    let step = model.step()
    expectClose(step.loss, 0.995822670172, ConformanceTests.lossTolerance, "loss")
    #expect(
      largestDifference(unit(step.features), [0.0397234435, 0.1898236314, 0.3153970754]) < 2e-5)
    expectClose(
      model.gradientNorm, 0.167911902434, ConformanceTests.gradientTolerance, "gradient norm")
    for (name, expected) in [
      ("mask_token", 0.017332744891), ("encoder.cls_token", 0.002190136505),
      ("encoder.patch_embed.proj.weight", 0.067709292387),
      ("encoder.norm.weight", 0.011187923138),
      ("regresser.regressor_blocks.0.norm1_k.weight", 0.000370901781),
      ("decoder.norm.weight", 0.011854737200), ("decoder.head.weight", 0.122892235653),
    ] {
      expectClose(model.norm(name), expected, ConformanceTests.gradientTolerance, name)
    }
    #expect(model.tree.parameter(named: "regresser.norm.weight") == nil)
  }

  @Test func regressorOfAnotherWidth() {
    let model = ToyVersion2(decoderDim: 8)
    let step = model.step()
    expectClose(step.loss, 1.005722558946, ConformanceTests.lossTolerance, "loss")
    #expect(
      largestDifference(unit(step.features), [0.0853404306, -0.1854206419, -0.0343774498]) < 2e-5)
    expectClose(
      model.gradientNorm, 0.211282452749, ConformanceTests.gradientTolerance, "gradient norm")
    expectClose(
      model.norm("encoder_to_regresser.weight"), 0.046070323137,
      ConformanceTests.gradientTolerance, "projection")
  }

  /// 17 tokens are 9 with the class token that are seen, and 8 that are not.
  @Test func supervisionDividesTheMean() {
    let losses = CAEv2.Configuration.Supervision.allCases.map {
      ToyVersion2(decoderDim: 16, $0).step().loss
    }
    #expect(abs(losses[0] - (9 * losses[1] + 8 * losses[2]) / 17) < 1e-6)
    #expect(abs(losses[1] - losses[2]) > 1e-4)
    let visible = ToyVersion2(decoderDim: 16, .visible)
    _ = visible.step()
    #expect(visible.norm("mask_token") == 0 && visible.norm("encoder.cls_token") > 0)
  }

  private func method(
    _ configuration: CAEv2.Configuration = ToyVersion2.configuration(decoderDim: 16),
    teacherGrid: Int = 4, size: Int = 32
  ) throws -> CAEv2 {
    let own = ViewSpecification(
      size: 32, filter: .bicubic, mean: [0, 0, 0], standardDeviation: [1, 1, 1])
    var view = own
    view.size = size
    return try CAEv2(
      configuration,
      MethodContext(
        model: ToyModel.encoder, encoderView: own,
        openTokens: { (path) throws(ConfigurationError) in throw ConfigurationError("x", path) },
        openFeatures: { [view] (_) throws(ConfigurationError) in
          .computed(ToyTeacher(grid: teacherGrid, view: view))
        }))
  }

  @Test func theTrainerSeesOneTermAndAFigure() throws {
    let method = try method(size: 48)
    #expect(method.views.map(\.size) == [32, 48])
    #expect(try self.method().views.count == 1)
    let parameters = FlatBuffer(
      for: method.parameters, allocator: HeapAllocator(), purpose: "parameters")
    parameters.initialize(method.parameters, seed: 1)
    let keys = (0..<2).map { SampleKey(epoch: 0, sample: $0) }
    let pictures = Tensor(
      (0..<2 * 3 * 48 * 48).map { Float(sin(0.02 * Double($0))) }, shape: [2, 3, 48, 48])
    let output = method.losses(
      for: Batch(keys: keys, views: [ToyModel.images, pictures], labels: [0, 1]),
      ForwardContext(
        tape: Tape(parameters: parameters, pool: ThreadPool(threadCount: 1)), keys: keys,
        step: StepInfo(step: 0, totalSteps: 1, seed: 1)))
    #expect(output.terms.map(\.name) == ["Latent"] && output.terms[0].weight == 1)
    #expect(output.scalars.map(\.name) == ["cosine"])
    #expect(abs(output.scalars[0].value + output.terms[0].loss.value - 1) < 1e-12)
    #expect(method.buffers.map(\.name) == ["encoder.pos_embed", "rd_pos_embed"])
  }

  @Test func configurationsOfNoModelAreRefused() {
    func refusal(
      teacherGrid: Int = 4, _ change: (inout CAEv2.Configuration) -> Void = { _ in }
    ) -> String? {
      var configuration = ToyVersion2.configuration(decoderDim: 16)
      change(&configuration)
      return #expect(throws: ConfigurationError.self) {
        try method(configuration, teacherGrid: teacherGrid)
      }?.keyPath
    }
    #expect(refusal(teacherGrid: 5) == "method.teacher")
    #expect(refusal { $0.decoderDim = 6 } == "method.decoderDim")
    #expect(refusal { $0.decoderHeads = 3 } == "method.decoderHeads")
    #expect(refusal { $0.regressorDepth = 0 } == "method.regressorDepth")
    #expect(refusal { $0.decoderLayerScaleInit = -1 } == "method.decoderLayerScaleInit")
    #expect(refusal { $0.minimumMaskBlock = -5 } == "method.minimumMaskBlock")
    #expect(refusal { $0.numMaskedPatches = 16 } == "method.numMaskedPatches")
  }
}
