public import DataParallel
import Files
public import Interfaces
public import Models
public import NN
public import ShardedData
public import TensorCore

/// Everything that a configuration builds on one rank; the loop is `Trainer`.
public final class TrainingRun {
  public let configuration: ResolvedConfiguration
  public let group: any ProcessGroup
  public let stallGuard: StallGuard
  public let method: any PretrainingMethod
  public let optimizer: DistributedOptimizer
  public let pool: ThreadPool
  public let accumulationSteps: Int
  public let sampler: DistributedSampler
  public let totalSteps: Int
  public let schedule: WarmupCosineSchedule
  public let output: String
  let trainIndex: ShardIndex
  let validationIndex: ShardIndex?

  /// Collective. Blocking. What fails on one rank fails on all.
  public init(
    _ configuration: ResolvedConfiguration, group: any ProcessGroup,
    stallGuard: StallGuard = StallGuard()
  ) throws {
    let training = configuration.training
    let agreement = Agreement(group)
    // What needs nobody else, and can fail on one rank alone.
    let parts = try agreement.run { try Parts(configuration, group) }
    self.configuration = configuration
    self.group = group
    self.stallGuard = stallGuard
    output = training.run.output
    accumulationSteps = parts.accumulationSteps
    trainIndex = parts.trainIndex
    validationIndex = parts.validationIndex
    method = parts.method
    pool = parts.pool
    sampler = DistributedSampler(count: trainIndex.count, seed: UInt64(training.run.seed))
    schedule = parts.schedule
    totalSteps = schedule.totalSteps
    stallGuard.limit(to: training.parallelism.stallTimeoutSeconds)
    try TrainingRun.compareKernels(
      of: group, areRequired: training.parallelism.deterministic, agreement)
    optimizer = try DistributedOptimizer(
      method.parameters, training.optimizer, training.exchange,
      microBatches: accumulationSteps, group: group, stallGuard: stallGuard, pool: pool)
    if optimizer.writesParameters {
      optimizer.parameters.initialize(method.parameters, seed: UInt64(training.run.seed))
    }
    try optimizer.hostBarrier()
  }

  /// Ranks whose BLAS has chosen other kernels do not compute the same bits.
  private static func compareKernels(
    of group: any ProcessGroup, areRequired: Bool, _ agreement: Agreement
  ) throws {
    var hash = Hash64()
    hash.update(BLAS.coreName)
    let value = hash.finalize()
    let own = (0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
    let all = try group.allGather(own)
    let odd = (0..<group.worldSize).filter { Array(all[$0 * 8..<$0 * 8 + 8]) != Array(all[..<8]) }
    guard areRequired, let rank = odd.first else { return }
    throw agreement.common(
      ConfigurationError(
        "parallelism.deterministic",
        "rank \(rank) has another CPU than rank 0, for which BLAS has chosen other kernels than "
          + "\(BLAS.coreName); run on equal hosts, or set OPENBLAS_CORETYPE to one kernel for all"))
  }

  /// What a rank builds on its own.
  private struct Parts {
    let method: any PretrainingMethod
    let pool: ThreadPool
    let accumulationSteps: Int
    let schedule: WarmupCosineSchedule
    let trainIndex: ShardIndex
    let validationIndex: ShardIndex?

    init(_ configuration: ResolvedConfiguration, _ group: any ProcessGroup) throws {
      let training = configuration.training
      accumulationSteps = try training.accumulationSteps(worldSize: group.worldSize)
      trainIndex = try TrainingRun.open(training.data.train, "data.train", training)
      validationIndex =
        training.data.validation.isEmpty
        ? nil : try TrainingRun.open(training.data.validation, "data.validation", training)
      method = try configuration.makeMethod(TrainingRun.methodContext(training))
      schedule = training.schedule(samples: trainIndex.count)
      guard schedule.totalSteps > 0 else {
        throw ConfigurationError(
          "schedule.epochs",
          "\(training.schedule.epochs) epochs of \(trainIndex.count) images are less than one "
            + "batch of \(training.parallelism.globalBatchSize)")
      }
      pool = ThreadPool(
        threadCount: ThreadCount.resolve(
          training.parallelism.threadsPerRank,
          localSize: group.hosts.count { $0 == group.hosts[group.rank] }))
    }
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
