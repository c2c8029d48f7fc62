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
  /// Of all ranks.
  public let layout: RankLayout
  /// Switched on for the steps that are traced.
  let timeline = Timeline()
  let traceSteps: ClosedRange<Int>?
  /// Where ranks have different BLAS kernels.
  let kernelWarning: String?
  public let accumulationSteps: Int
  public let sampler: DistributedSampler
  public let totalSteps: Int
  public let schedule: WarmupCosineSchedule
  public let output: String
  /// Seconds of the job; nil: none.
  let timeLimit: Double?
  let trainImages: LabelledImages
  let validationImages: LabelledImages?
  /// Targets that were computed beforehand.
  let targetIndex: TargetIndex?
  let loaderOptions: LoaderOptions

  /// Collective. Blocking. What fails on one rank fails on all.
  public init(
    _ configuration: ResolvedConfiguration, group: any ProcessGroup,
    stallGuard: StallGuard = StallGuard()
  ) throws {
    let training = configuration.training
    let agreement = Agreement(group)
    layout = try RankLayout.gather(group)
    let cores = layout.cores(ofRank: group.rank)
    // What needs nobody else, and can fail on one rank alone.
    // Where nothing is traced, kernels do not even read the clock.
    let timeline = training.run.trace.isEmpty ? nil : self.timeline
    let parts = try agreement.run {
      try Parts(configuration, group, cores: cores, timeline: timeline)
    }
    self.configuration = configuration
    self.group = group
    self.stallGuard = stallGuard
    output = training.run.output
    timeLimit = try agreement.run {
      try TimeLimit.seconds(of: training.run.timeLimit, key: "run.timeLimit")
    }
    traceSteps = try agreement.run { try TraceSteps.parse(training.run.trace) }
    accumulationSteps = parts.accumulationSteps
    trainImages = parts.trainImages
    validationImages = parts.validationImages
    targetIndex = parts.targetIndex
    method = parts.method
    pool = parts.pool
    sampler = DistributedSampler(
      count: trainImages.count, seed: UInt64(training.run.seed), windowSize: trainImages.windowSize)
    loaderOptions = training.loaderOptions(kernelThreads: pool.threadCount, cores: cores)
    schedule = parts.schedule
    totalSteps = schedule.totalSteps
    stallGuard.limit(to: training.parallelism.stallTimeoutSeconds)
    kernelWarning = try TrainingRun.compareKernels(
      of: group, areRequired: training.parallelism.deterministic, agreement)
    optimizer = try DistributedOptimizer(
      method.parameters, training.optimizer, training.exchange,
      microBatches: accumulationSteps, group: group, stallGuard: stallGuard, pool: pool,
      timeline: timeline)
    if optimizer.writesParameters {
      optimizer.parameters.initialize(method.parameters, seed: UInt64(training.run.seed))
    }
    try optimizer.hostBarrier()
  }

  /// Ranks whose BLAS has chosen other kernels do not compute the same bits.
  ///
  /// - Returns: A sentence where that does not matter.
  private static func compareKernels(
    of group: any ProcessGroup, areRequired: Bool, _ agreement: Agreement
  ) throws -> String? {
    var hash = Hash64()
    hash.update(BLAS.coreName)
    let value = hash.finalize()
    let own = (0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
    let all = try group.allGather(own)
    let odd = (0..<group.worldSize).filter { Array(all[$0 * 8..<$0 * 8 + 8]) != Array(all[..<8]) }
    guard let rank = odd.first else { return nil }
    guard areRequired else {
      return
        "warning: rank \(rank) has other BLAS kernels than rank 0: steps wait for the slower ones"
    }
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
    let trainImages: LabelledImages
    let validationImages: LabelledImages?
    let targetIndex: TargetIndex?

    init(
      _ configuration: ResolvedConfiguration, _ group: any ProcessGroup, cores: Int,
      timeline: Timeline?
    ) throws {
      let training = configuration.training
      accumulationSteps = try training.accumulationSteps(worldSize: group.worldSize)
      let trainIndex = try TrainingRun.open(training.data.train, "data.train", training)
      let validationIndex =
        training.data.validation.isEmpty
        ? nil : try TrainingRun.open(training.data.validation, "data.validation", training)
      targetIndex =
        training.data.targets.isEmpty
        ? nil
        : try TargetIndex(
          folder: training.data.targets, of: trainIndex, views: training.data.fixedViews,
          settings: training.pictureSettings)
      if let size = targetIndex?.description.pictureSize, size < training.encoderView.size {
        throw ConfigurationError(
          "data.targets",
          "\(training.data.targets) has targets that were made beside pictures of \(size) pixels, not "
            + "\(training.encoderView.size); compute them again with cae-dist tokenizer encode")
      }
      method = try configuration.makeMethod(
        TrainingRun.methodContext(training, targets: targetIndex?.description))
      let wantsTargets = ["tokenizer", "teacher"].contains {
        configuration.methodValue($0) != nil
      }
      guard targetIndex == nil || wantsTargets else {
        throw ConfigurationError(
          "data.targets", "is for methods with a tokenizer or a teacher; leave it out")
      }
      let classes = (method as? any ClassifierMethod)?.classes ?? 0
      trainImages = try LabelledImages(
        trainIndex, classes: classes, limit: training.data.trainImages)
      validationImages = try validationIndex.map {
        try LabelledImages($0, classes: classes, limit: 0)
      }
      schedule = training.schedule(samples: trainImages.count)
      guard schedule.totalSteps > 0 else {
        throw ConfigurationError(
          "schedule.epochs",
          "\(training.schedule.epochs) epochs of \(trainImages.count) images are less than one "
            + "batch of \(training.parallelism.globalBatchSize)")
      }
      let threads = ThreadCount.resolve(training.parallelism.threadsPerRank, cores: cores)
      pool = ThreadPool(
        threadCount: threads,
        clock: timeline.map { KernelClock(threadCount: threads, timeline: $0) })
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
    try requireChannels(of: index, training)
    return index
  }

  /// Raw images have the channels that they have; files are decoded to those of the model.
  static func requireChannels(
    of index: ShardIndex, _ training: TrainingConfiguration
  ) throws(ConfigurationError) {
    guard let channels = index.imageShape?.channels, channels != training.model.channels else {
      if index.imageShape == nil, ![1, 3].contains(training.model.channels) {
        throw ConfigurationError(
          "model.channels",
          "must be 1 or 3 for image files, not \(training.model.channels)")
      }
      return
    }
    throw ConfigurationError(
      "model.channels",
      "is \(training.model.channels), but the images in \(index.shards[0].path) have "
        + "\(channels) channels")
  }

  /// - Parameter targets: Those that were computed beforehand, if the run has some.
  static func methodContext(
    _ training: TrainingConfiguration, targets: TargetDescription? = nil
  ) -> MethodContext {
    let (channels, grid, folder) = (
      training.model.channels, training.model.grid, training.data.targets
    )
    return MethodContext(
      model: training.model, encoderView: training.encoderView,
      openTokens: { (path) throws(ConfigurationError) in
        if let targets {
          guard case .tokens(let vocabularySize) = targets.content else {
            throw ConfigurationError(
              "data.targets", "\(folder) has features of a teacher; the method wants tokens")
          }
          return .stored(vocabularySize: vocabularySize, grid: targets.grid)
        }
        return .computed(try TokenizerFile.open(path, channels: channels, grid: grid))
      },
      openFeatures: { (path) throws(ConfigurationError) in
        if let targets {
          guard case .features(let width) = targets.content else {
            throw ConfigurationError(
              "data.targets", "\(folder) has tokens; the method wants features of a teacher")
          }
          return .stored(width: width, grid: targets.grid)
        }
        return .computed(
          try TeacherFile.open(path, key: "method.teacher", channels: channels, grid: grid))
      })
  }
}
