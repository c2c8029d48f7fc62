import DataParallel
import Interfaces
import Models
import Training

/// The model that a benchmark runs: one of the published sizes, overridden as a run would be.
struct BenchmarkSetup {
  static let vocabularySize = 8192

  let model: VisionTransformerConfiguration
  let method: CAE.Configuration
  let threads: Int
  let parallelism: ParallelismSection
  let exchange: ExchangeOptions
  /// Checkpoints are written from a copy.
  let copiesState: Bool
  private let ownMicroBatch: Int?

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
      parallelism: { threadsPerRank: \(threads), globalBatchSize: 23063040 }
      """
    let resolved = try ConfigurationFile.resolve(
      text, name: "bench", overrides: overrides, methods: [CAE.self])
    model = resolved.training.model
    method = try resolved.methodConfiguration(of: CAE.self)
    parallelism = resolved.training.parallelism
    exchange = resolved.training.exchange
    copiesState = resolved.training.checkpoint.asynchronous
    let isSet = overrides.contains { $0.hasPrefix("parallelism.microBatchSize=") }
    ownMicroBatch = isSet ? parallelism.microBatchSize : nil
    self.threads = ThreadCount.resolve(resolved.training.parallelism.threadsPerRank, cores: threads)
    guard (1..<model.patchCount).contains(method.numMaskedPatches) else {
      throw ConfigurationError(
        "method.numMaskedPatches", "must be between 1 and \(model.patchCount - 1)")
    }
  }

  /// Images of one forward and backward of a rank's batch: all of them, unless set otherwise.
  func microBatch(_ batch: Int) -> Int { ownMicroBatch ?? batch }

  func requireShares(of batch: Int, ranks: Int) throws(ConfigurationError) {
    let micro = microBatch(batch)
    guard batch % micro == 0 else {
      throw ConfigurationError(
        "parallelism.microBatchSize", "\(micro) does not divide the batch of \(batch)")
    }
    let possible = MicroBatchOrder.deterministicWorldSizes(microBatches: batch / micro * ranks)
    guard !exchange.isDeterministic || possible.contains(ranks) else {
      throw ConfigurationError(
        "parallelism.deterministic",
        "needs a power of two of micro-batches a rank, not \(batch / micro)")
    }
  }

  var cost: StepCost { StepCost(model, method, vocabularySize: BenchmarkSetup.vocabularySize) }
}
