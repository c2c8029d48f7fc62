import Artifacts
public import DataParallel
import Interfaces
import ShardedData
import TensorCore

/// `cae-dist features`: features of shards, in their order.
public enum FeatureExtraction {
  /// What is asked for.
  public struct Request: Sendable {
    /// A run, a checkpoint, or a merged file.
    public var checkpoint: String
    public var source = EncoderSource.pretrained
    public var features = FeatureKind.classToken
    public var images: [String]
    /// HDF5 file to write.
    public var output: String

    public init(checkpoint: String, images: [String], output: String) {
      (self.checkpoint, self.images, self.output) = (checkpoint, images, output)
    }
  }

  /// Bytes of features that a host holds at a time.
  private static let windowBytes = 256 << 20
  private static let batch = 64

  /// Collective. Blocking. The ranks share the images; the first one writes.
  public static func run(
    _ cluster: Cluster, _ request: () throws -> Request, log: @escaping (String) -> Void
  ) throws -> ExitCode {
    try run(cluster.group, request, log: log)
    return .success
  }

  static func run(
    _ group: any ProcessGroup, _ request: () throws -> Request, log: (String) -> Void
  ) throws {
    let agreement = Agreement(group)
    let request = try agreement.run(request)
    let cores = try RankLayout.cores(of: group)
    let encoder = try FrozenEncoder.load(
      request.checkpoint, request.source, agreement: agreement
    ) { configuration in
      ThreadPool(
        threadCount: ThreadCount.resolve(
          configuration.training.parallelism.threadsPerRank, cores: cores))
    }
    let index = try agreement.run {
      let index = try ShardIndex(paths: request.images)
      try TrainingRun.requireChannels(of: index, encoder.configuration.training)
      return index
    }
    try write(index, encoder, request, cores: cores, agreement, log)
  }

  private static func write(
    _ index: ShardIndex, _ encoder: FrozenEncoder, _ request: Request, cores: Int,
    _ agreement: Agreement, _ log: (String) -> Void
  ) throws {
    let shape = encoder.shape(of: request.features)
    let columns = shape.reduce(1, *)
    let window = min(
      index.count, max(batch, windowBytes / (columns * MemoryLayout<Float>.stride)))
    let store = try FeatureStore(count: window, pictures: 1, shape: shape, agreement: agreement)
    let isFirst = agreement.group.rank == 0
    let file = try agreement.run {
      isFirst
        ? try RowFile(
          path: request.output, rows: index.count, shape: shape,
          attributes: [
            ("kind", "features"), ("features", request.features.rawValue),
            ("encoder", request.source.rawValue), ("checkpoint", encoder.path),
          ]) : nil
    }
    let clock = EvaluationClock(done: 0, of: index.count)
    for first in stride(from: 0, to: index.count, by: window) {
      let count = min(window, index.count - first)
      try store.compute(
        pass(index, first..<first + count, encoder, request, cores: cores, agreement), agreement)
      try agreement.run {
        try file?.write(
          UnsafeBufferPointer(start: store.all(), count: count * columns),
          labels: (0..<count).map { store.label(of: $0) }, at: first)
      }
      if isFirst, first + count < index.count {
        log(
          "features of \(first + count)/\(index.count) images, ETA \(clock.left(at: first + count))"
        )
      }
    }
    try agreement.run { try file?.finish() }
    if isFirst {
      log(
        "wrote \(request.features.rawValue) features of \(index.count) images, "
          + "\(shape.map(String.init).joined(separator: " x ")) each, to \(request.output)")
    }
  }

  private static func pass(
    _ index: ShardIndex, _ places: Range<Int>, _ encoder: FrozenEncoder, _ request: Request,
    cores: Int, _ agreement: Agreement
  ) -> FeaturePass {
    let training = encoder.configuration.training
    let images = LabelledImages(index, places: places)
    return FeaturePass(
      features: { encoder.features(request.features, of: $0) }, images: images,
      batches: OrderedBatches(count: images.count, size: batch),
      transform: .evaluation([training.encoderView], cropShare: training.data.validationCropShare),
      options: training.loaderOptions(
        kernelThreads: encoder.threadCount, cores: cores),
      group: agreement.group, needsLabels: false)
  }
}
