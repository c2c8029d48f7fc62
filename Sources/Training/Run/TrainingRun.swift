public import DataParallel
import Files
public import Interfaces
public import Models
public import NN
public import ShardedData
public import TensorCore

/// Everything that a configuration builds on one rank. Building communicates with nobody, so it
/// can fail on one rank; the loop is `Trainer`.
public final class TrainingRun {
  public let configuration: ResolvedConfiguration
  public let group: any ProcessGroup
  public let method: any PretrainingMethod
  public let state: TrainingState
  public let gradients: FlatBuffer
  public let pool: ThreadPool
  public let accumulationSteps: Int
  public let sampler: DistributedSampler
  public let totalSteps: Int
  public let schedule: WarmupCosineSchedule
  public let output: String
  let trainIndex: ShardIndex
  let validationIndex: ShardIndex?

  /// - Parameter localSize: Ranks on this host, for `threadsPerRank: auto`.
  public init(
    _ configuration: ResolvedConfiguration, group: any ProcessGroup, localSize: Int = 1,
    allocator: any MemoryAllocator = HeapAllocator()
  ) throws {
    let training = configuration.training
    self.configuration = configuration
    self.group = group
    output = training.run.output
    accumulationSteps = try training.accumulationSteps(worldSize: group.worldSize)
    trainIndex = try TrainingRun.open(training.data.train, "data.train", training)
    validationIndex =
      training.data.validation.isEmpty
      ? nil : try TrainingRun.open(training.data.validation, "data.validation", training)
    method = try configuration.makeMethod(TrainingRun.methodContext(training))
    pool = ThreadPool(
      threadCount: ThreadCount.resolve(training.parallelism.threadsPerRank, localSize: localSize))
    sampler = DistributedSampler(count: trainIndex.count, seed: UInt64(training.run.seed))
    schedule = training.schedule(samples: trainIndex.count)
    totalSteps = schedule.totalSteps
    guard totalSteps > 0 else {
      throw ConfigurationError(
        "schedule.epochs",
        "\(training.schedule.epochs) epochs of \(trainIndex.count) images are less than one batch "
          + "of \(training.parallelism.globalBatchSize)")
    }
    let tree = method.parameters
    let parameters = FlatBuffer(for: tree, allocator: allocator, purpose: "parameters")
    parameters.initialize(tree, seed: UInt64(training.run.seed))
    state = TrainingState(
      tree: tree, parameters: parameters,
      optimizer: AdamW(training.optimizer, for: tree, allocator: allocator),
      buffers: method.buffers)
    gradients = FlatBuffer(for: tree, allocator: allocator, purpose: "gradients")
  }

  private static func open(
    _ paths: [String], _ key: String, _ training: TrainingConfiguration
  ) throws -> ShardIndex {
    if let missing = paths.first(where: { !Files.exists($0) }) {
      let hint =
        missing.hasPrefix(DataHome.path)
        ? "run Scripts/quickstart, which makes it"
        : "pack your images with cae-dist data pack"
          + (key == "data.validation" ? ", or leave it out: --set data.validation=[]" : "")
      throw ConfigurationError(key, "\(missing) does not exist; \(hint)")
    }
    let index = try ShardIndex(paths: paths)
    guard index.imageShape.channels == training.model.channels else {
      throw ConfigurationError(
        "model.channels",
        "is \(training.model.channels), but the images in \(paths[0]) have "
          + "\(index.imageShape.channels) channels")
    }
    return index
  }

  static func methodContext(_ training: TrainingConfiguration) -> MethodContext {
    MethodContext(model: training.model, encoderView: training.encoderView) {
      (path) throws(ConfigurationError) in
      try TokenizerFile.open(path, channels: training.model.channels)
    }
  }
}
