import Foundation
import Interfaces
import Models
import ShardedData
import TensorCore
import Training

/// Everything on disk that a run of a very small CAE needs: shards, a tokenizer, a configuration.
///
/// 96 images of 16 x 16 pixels in batches of 16: 6 steps an epoch, 12 in a run. Images are cropped
/// and flipped and blocks are dropped, so that every random draw of a run has an effect.
public struct TinyRun: Sendable {
  public static let imageCount = 96
  public static let imageSize = 16
  public static let patchSize = 4
  public static let stepsPerEpoch = 6
  public static let totalSteps = 12
  private static let vocabularySize = 32

  public let folder: TemporaryFolder

  public init(channels: Int = 1) throws {
    folder = try TemporaryFolder("tiny-run")
    let shape = ImageShape(
      height: TinyRun.imageSize, width: TinyRun.imageSize, channels: channels)
    for (name, count, seed) in [("train", TinyRun.imageCount, 1), ("validation", 40, 2)] {
      _ = try ShardPacker.pack(
        SyntheticImages(count: count, imageShape: shape, seed: UInt64(seed)),
        to: folder.file(name), name: "images", shardSize: 40)
    }
    try TinyRun.writeTokenizer(channels: channels, to: tokenizer)
    try folder.write(yaml, to: "run.yaml")
  }

  public var train: String { folder.file("train") }
  public var validation: String { folder.file("validation") }
  public var tokenizer: String { folder.file("tokenizer.h5") }
  /// The configuration on disk, for the command line.
  public var configuration: String { folder.file("run.yaml") }
  /// Its output folder.
  public var output: String { folder.file("output") }

  /// The text of `configuration`.
  public var yaml: String {
    yaml(
      method: """
        {
          name: cae, numMaskedPatches: 8, minimumMaskBlock: 2, decoderDim: 16, decoderHeads: 2,
          regressorDepth: 1, decoderDepth: 1, tokenizer: "\(tokenizer)" }
        """)
  }

  /// The same run of another method.
  ///
  /// - Parameter method: Its section, a mapping in braces.
  public func yaml(method: String) -> String {
    """
    run: { seed: 7, output: "\(output)" }
    model:
      imageSize: 16
      patchSize: 4
      channels: 1
      embedDim: 16
      depth: 2
      numHeads: 2
      dropPathRate: 0.1
    method: \(method)
    data:
      train: ["\(train)"]
      cropScale: [0.5, 1]
      mean: [0.5]
      standardDeviation: [0.25]
    optimizer: { learningRate: 3.0e-3 }
    schedule: { epochs: 2, warmupEpochs: 0.5 }
    parallelism: { globalBatchSize: 16, microBatchSize: 4, threadsPerRank: 1 }
    checkpoint: { everySteps: 0 }
    logging: { validateEverySteps: 0 }

    """
  }

  /// A codebook of random vectors: it learns nothing, but every patch has its nearest code.
  private static func writeTokenizer(channels: Int, to path: String) throws {
    var random = CounterRandom(seed: 3, stream: .tokenizer)
    let values = channels * patchSize * patchSize
    let codebook = Tensor(
      (0..<vocabularySize * values).map { _ in Float(random.uniform(-2, 2)) },
      shape: [vocabularySize, values])
    let view = ViewSpecification(
      size: imageSize, filter: .bicubic, mean: [Float](repeating: 0.5, count: channels),
      standardDeviation: [Float](repeating: 0.25, count: channels))
    try TokenizerFile.write(
      try KMeansTokenizer(codebook: codebook, patchSize: patchSize, view: view),
      shares: [Double](repeating: 1 / Double(vocabularySize), count: vocabularySize), to: path)
  }
}
