import Models
import NN
import TensorCore
import TestSupport
import Testing

/// Numbers of the authors' code at toy size, computed in Double.
@Suite struct ConformanceTests {
  /// Losses are means of values that Float holds to 6e-8, after some thirty layers.
  static let lossTolerance = 1e-5
  /// Outputs and latents are of size 1 to 4.
  static let outputTolerance: Float = 2e-5
  /// Of a tensor's norm: backward doubles the layers.
  static let gradientTolerance = 1e-4

  /// Norm and, where it is known, first element of a gradient.
  typealias ExpectedGradient = (name: String, norm: Double, first: Double?)

  static let sameWidth: [ExpectedGradient] = [
    ("mask_token", 2.599630667249, 6.738204672040e-01),
    ("encoder.cls_token", 0.487837375506, 1.191436412868e-01),
    ("encoder.patch_embed.proj.weight", 0.599755549176, 6.801765629480e-03),
    ("encoder.blocks.0.attn.qkv.weight", 0.301489034488, -1.329415963330e-03),
    ("encoder.blocks.0.attn.q_bias", 0.044036229591, 5.752975811104e-03),
    ("encoder.blocks.1.gamma_2", 1.716372275935, 1.197303181947e-01),
    ("encoder.norm.weight", 0.244378219080, -4.151420787137e-02),
    ("regresser.regressor_blocks.0.norm1_k.weight", 0.047650093830, -1.487809505129e-02),
    ("regresser.regressor_blocks.1.cross_attn.k.weight", 0.075086500995, 5.778828972648e-03),
    ("regresser.regressor_blocks.1.mlp_cross.fc2.weight", 0.486451343191, 3.626846941840e-04),
    ("regresser.norm.bias", 1.477595716033, 5.832861329220e-01),
    ("decoder.decoder_blocks.0.attn.v_bias", 0.031367566953, 6.772393017984e-03),
    ("decoder.head.weight", 1.468320107265, -2.797118697271e-02),
  ]

  static let otherWidth: [ExpectedGradient] = [
    ("mask_token", 4.349564024658, nil), ("encoder.cls_token", 0.365408674620, nil),
    ("encoder.patch_embed.proj.weight", 1.067074501742, nil),
    ("encoder.blocks.0.attn.qkv.weight", 0.301308884957, nil),
    ("encoder.norm.weight", 0.200528363589, nil),
    ("encoder_to_regresser.weight", 0.383911450002, -2.439714941933e-02),
    ("encoder_to_regresser_norm.weight", 0.077204460128, nil),
    ("regresser.regressor_blocks.1.mlp_cross.fc2.weight", 1.961030172206, nil),
    ("regresser.norm.bias", 1.938448108460, nil), ("decoder.head.weight", 2.702797359913, nil),
  ]

  private func expectClose(_ value: Double, _ expected: Double, _ name: String) {
    #expect(abs(value / expected - 1) < ConformanceTests.lossTolerance, "\(name): \(value)")
  }

  private func expectStart(_ values: [Float], _ expected: [Float], _ name: String) {
    let difference = largestDifference(Array(values.prefix(3)), expected)
    #expect(difference < ConformanceTests.outputTolerance, "\(name): \(values.prefix(3))")
  }

  private func expectGradients(_ model: ToyModel, _ expected: [ExpectedGradient]) {
    for (name, norm, first) in expected {
      let gradient = model.gradient(name)
      let limit = ConformanceTests.gradientTolerance * norm
      #expect(abs(euclideanNorm(gradient) - norm) < limit, "\(name)")
      if let first {
        #expect(abs(Double(gradient.first ?? .nan) - first) < limit, "\(name)")
      }
    }
  }

  @Test func decoderOfTheEncodersWidth() {
    let model = ToyModel(decoderDim: 16)
    let step = model.step()
    expectClose(step.reconstruction, 3.560224936609, "reconstruction")
    expectClose(step.alignment, 4.769409398671, "alignment")
    expectClose(step.total, 8.329634335280, "total")
    expectStart(step.logits, [1.1533591535, 1.4669640326, 1.5902626824], "logits")
    expectStart(
      step.predictedLatents, [1.3420191613, 0.8209645722, 0.2062790813], "predicted latents")
    expectStart(
      step.targetLatents, [-1.5058021402, -1.3030332496, 0.8204118642], "target latents")
    expectGradients(model, ConformanceTests.sameWidth)
    expectClose(model.gradientNorm, 10.720114090577, "gradient norm")
  }

  @Test func decoderOfAnotherWidth() {
    let model = ToyModel(decoderDim: 24)
    let step = model.step()
    expectClose(step.reconstruction, 7.726131534820, "reconstruction")
    expectClose(step.alignment, 9.255232530069, "alignment")
    expectClose(step.total, 16.981364064889, "total")
    expectStart(step.logits, [0.5320681931, -2.9538899355, 3.7345620247], "logits")
    expectStart(
      step.predictedLatents, [-0.3918232425, -1.0761894444, 0.3942099007], "predicted latents")
    expectStart(
      step.targetLatents, [0.3168496484, -0.3006777998, -0.8720783591], "target latents")
    expectGradients(model, ConformanceTests.otherWidth)
    expectClose(model.gradientNorm, 11.245708097818, "gradient norm")
  }

  /// Targets come from the current weights, as in the official code: a target that lags one step
  /// behind has other numbers from step 1 on (alignment 3.05 instead of 3.90).
  @Test func fourStepsOfTraining() throws {
    let model = ToyModel(decoderDim: 16)
    let optimizer = AdamW(
      AdamWConfiguration(learningRate: 1e-2, minimumLearningRate: 1e-2), for: model.tree,
      allocator: HeapAllocator())
    let expected = [
      (3.5602249366, 4.7694093987, 10.7201140906), (3.1130499245, 3.8961516931, 5.6259139766),
      (2.8830074923, 3.9163145610, 4.1542471712), (2.7373501740, 3.8549425741, 3.7659088257),
    ]
    for (index, (reconstruction, alignment, gradientNorm)) in expected.enumerated() {
      let step = model.step()
      let norm = try optimizer.update(
        model.parameters, gradients: model.gradients, gradientCount: 1, learningRate: 1e-2,
        step: index + 1, pool: model.pool)
      expectClose(step.reconstruction, reconstruction, "reconstruction of step \(index)")
      expectClose(step.alignment, alignment, "alignment of step \(index)")
      #expect(
        abs(norm / gradientNorm - 1) < ConformanceTests.gradientTolerance, "norm of step \(index)")
    }
  }

  @Test func theFillIsTheOneOfTheVectors() {
    // The check value that goes with the CRC.
    #expect(DeterministicFill.crc32("123456789") == 0xCBF4_3926)
    #expect(ToyModel.mask.masked.prefix(8) == [0, 1, 3, 5, 7, 10, 12, 14])
    #expect(ToyModel.mask.masked.suffix(8) == [0, 2, 5, 7, 9, 11, 12, 14])
  }

  /// One rank gives the same bits each time, whichever thread took which task.
  @Test func aStepIsRepeatable() {
    func bits() -> [Float] {
      let model = ToyModel(decoderDim: 24)
      _ = model.step()
      return (0..<model.gradients.count).map { model.gradients.pointer[$0] }
    }
    let first = bits()
    for _ in 0..<5 { #expect(sameBits(bits(), first)) }
  }
}
