import Interfaces
import Models
import Training

/// The model that a benchmark runs: one of the published sizes, overridden as a run would be.
struct BenchmarkSetup {
  static let vocabularySize = 8192

  let model: VisionTransformerConfiguration
  let method: CAE.Configuration
  let threads: Int
  let keepsBlockInputsOnly: Bool

  init(
    model name: String, imageSize: Int, threads: Int, overrides: [String]
  ) throws(ConfigurationError) {
    let sizes: [String: VisionTransformerConfiguration] = [
      "tiny": .tiny, "small": .small, "base": .base, "large": .large,
    ]
    guard let size = sizes[name] else {
      throw ConfigurationError("--model", "must be tiny, small, base or large, not \(name)")
    }
    let patches = imageSize / size.patchSize * (imageSize / size.patchSize)
    let text = """
      model: { imageSize: \(imageSize), embedDim: \(size.embedDim), depth: \(size.depth), \
      numHeads: \(size.numHeads), layerScaleInit: \(size.layerScaleInit), dropPathRate: 0 }
      method: { name: cae, decoderDim: \(size.embedDim), decoderHeads: \(size.numHeads), \
      numMaskedPatches: \(patches / 2) }
      data: { train: [generated] }
      parallelism: { threadsPerRank: \(threads) }
      """
    let resolved = try ConfigurationFile.resolve(
      text, name: "bench", overrides: overrides, methods: [CAE.self])
    model = resolved.training.model
    method = try resolved.methodConfiguration(of: CAE.self)
    keepsBlockInputsOnly = resolved.training.parallelism.activationCheckpointing == .blocks
    self.threads = ThreadCount.resolve(resolved.training.parallelism.threadsPerRank, localSize: 1)
    guard (1..<model.patchCount).contains(method.numMaskedPatches) else {
      throw ConfigurationError(
        "method.numMaskedPatches", "must be between 1 and \(model.patchCount - 1)")
    }
  }

  var cost: StepCost { StepCost(model, method, vocabularySize: BenchmarkSetup.vocabularySize) }
}
