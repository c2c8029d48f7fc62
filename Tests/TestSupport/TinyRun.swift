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

  public init() throws {
    folder = try TemporaryFolder("tiny-run")
    let heldOut = SyntheticImages(count: 40, imageShape: TinyRun.images.imageShape, seed: 2)
    for (name, images) in [("train", TinyRun.images), ("validation", heldOut)] {
      var options = PackOptions(format: .raw(size: nil, channels: 1))
      options.shardSize = 40
      _ = try ShardPacker(images, to: folder.file(name), name: "images", options: options)
        .packAll()
    }
    try TinyRun.writeTokenizer(to: tokenizer)
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

  /// Changes one pixel of the training images on disk.
  ///
  /// - Returns: The path of the shard.
  public func damageShard() throws -> String {
    struct NoImage: Error {}
    let path = "\(train)/\(TemporaryFolder.names(in: train)[0])"
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    for index in 0..<TinyRun.imageCount {
      let image = Data(TinyRun.images.image(at: index))
      guard let place = bytes.range(of: image) else { continue }
      try TemporaryFolder.flipByte(of: path, at: place.lowerBound + image.count / 2)
      return path
    }
    throw NoImage()
  }

  private static var images: SyntheticImages {
    SyntheticImages(
      count: imageCount, imageShape: ImageShape(height: imageSize, width: imageSize, channels: 1),
      seed: 1)
  }

  /// A codebook of random vectors: it learns nothing, but every patch has its nearest code.
  private static func writeTokenizer(to path: String) throws {
    var random = CounterRandom(seed: 3, stream: .tokenizer)
    let values = patchSize * patchSize
    let codebook = Tensor(
      (0..<vocabularySize * values).map { _ in Float(random.uniform(-2, 2)) },
      shape: [vocabularySize, values])
    let view = ViewSpecification(
      size: imageSize, filter: .bicubic, mean: [0.5], standardDeviation: [0.25])
    try TokenizerFile.write(
      try KMeansTokenizer(
        Codebook(codebook), of: StandardizedPatches(patchSize: patchSize, view: view)),
      shares: [Double](repeating: 1 / Double(vocabularySize), count: vocabularySize),
      teacher: nil, to: path)
  }
}
