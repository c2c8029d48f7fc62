public import DataParallel
public import Interfaces
public import Models
public import NN

/// A whole run but for the method's own section: what a YAML file may say.
public struct TrainingConfiguration: Codable, Sendable, Equatable {
  public var run = RunSection()
  public var model = VisionTransformerConfiguration.base
  public var data = DataSection()
  public var optimizer = AdamWConfiguration()
  public var schedule = ScheduleSection()
  public var parallelism = ParallelismSection()
  public var guards = GuardSection()
  public var checkpoint = CheckpointSection()
  public var logging = LoggingSection()
  public var evaluation = EvaluationSection()

  public init() {}
}

public struct RunSection: Codable, Sendable, Equatable {
  /// Of every random number of the run.
  public var seed = 0
  /// Folder for metrics and checkpoints.
  public var output = "runs/cae"
  /// A checkpoint whose weights a new run starts from; everything else starts anew.
  public var initializeFrom = ""
  /// Wall-clock time of the job, as sbatch --time takes it (90: minutes, 11:30:00, 1-12:00:00): the
  /// run stops before, with a checkpoint and exit code 75; empty: none.
  public var timeLimit = ""
  /// Steps that are traced on all ranks, such as steps=10-12, into trace-10-12.json of the output
  /// folder, which ui.perfetto.dev and chrome://tracing show; empty: none.
  public var trace = ""
}

public struct DataSection: Codable, Sendable, Equatable {
  /// Shard files, or folders of them.
  public var train: [String] = []
  /// Training images that are used, spread evenly over the shards; 0: all.
  public var trainImages = 0
  /// Shards for the held-out pretraining loss; none: no such loss.
  public var validation: [String] = []
  /// Share of an image that a crop takes, smallest and largest.
  public var cropScale = [0.08, 1.0]
  /// Width over height of a crop, smallest and largest.
  public var cropAspect = [0.75, 4.0 / 3.0]
  public var flipProbability = 0.5
  /// Brightness, contrast and saturation are changed by factors of up to 1 plus and minus this, in
  /// random order; 0: not at all.
  public var colorJitter = 0.0
  /// Magnitude of RandAugment, two random operations on each crop: 9 in published fine-tunings;
  /// 0: none.
  public var randAugment = 0.0
  /// How likely a crop has a rectangle of noise in it; 0: never.
  public var randomErasing = 0.0
  /// Of images for the held-out loss, the share of the shorter side that the square in the middle
  /// takes: 0.875 cuts 224 out of 256.
  public var validationCropShare = 0.875
  /// Epochs go round among this many pictures of each image (flip, crop and colour jitter), so that
  /// their targets can be computed once by cae-dist tokenizer encode; 0: new ones every epoch.
  public var fixedViews = 0
  /// Folder of the tokens or features that cae-dist tokenizer encode has computed; empty: the method's
  /// `tokenizer` or `teacher` computes them as training goes on.
  public var targets = ""
  /// Of pixels in [0, 1], one value a channel.
  public var mean = [0.485, 0.456, 0.406]
  public var standardDeviation = [0.229, 0.224, 0.225]
}

public struct ScheduleSection: Codable, Sendable, Equatable {
  public var epochs = 300.0
  public var warmupEpochs = 10.0
}

public enum ActivationCheckpointing: String, Codable, Sendable {
  case none
  case blocks
}

public struct ParallelismSection: Codable, Sendable, Equatable {
  /// Samples of one optimizer update, over all ranks.
  public var globalBatchSize = 2048
  /// Samples that a rank runs in one forward and backward; smaller ones are accumulated.
  public var microBatchSize = 16
  /// Kernel threads of a rank: a number, or `auto` from the cores that the rank may use.
  public var threadsPerRank = "auto"
  /// What backward keeps: `none` all that it needs, `blocks` only the inputs of transformer blocks,
  /// which are computed a second time: less memory for up to 30 % more time, the same bits.
  public var activationCheckpointing = ActivationCheckpointing.none
  /// How gradients are added up: `hierarchical` inside each host first and then once between hosts,
  /// or `mpi` by the library's allreduce.
  public var gradientExchange = ExchangeKind.hierarchical
  /// Values on the links between hosts: `float32`, or `bfloat16` with rounding errors kept for the
  /// next step.
  public var wire = Wire.float32
  /// What ranks divide between them: `none`, `optimizer` (moments and update), or `gradients` (those
  /// too: a bucket's memory is used again as soon as it has been added up).
  public var sharding = Sharding.none
  /// One copy of the parameters for all ranks of a host, in memory that they share.
  public var sharedParameters = true
  /// Bytes of one gradient exchange.
  public var bucketBytes = 4 << 20
  /// Exchange gradients while backward goes on.
  public var overlap = true
  /// The same bits on any number of ranks that divides the micro-batches of a step into powers of
  /// two, and on any layout of hosts.
  public var deterministic = false
  /// Seconds that a rank waits for others before the run ends; 0: for ever.
  public var stallTimeoutSeconds = 600.0
  /// Micro-batches that are loaded ahead of the trainer.
  public var prefetchBatches = 2
  /// Threads of a rank that decode images: a number, or `auto`: the cores that kernel threads leave
  /// free, at least one.
  public var loaderThreads = "auto"
  /// Steps between comparisons of the parameters of all ranks; 0: never.
  public var compareEverySteps = 100
}

/// What keeps a step from doing harm.
public struct GuardSection: Codable, Sendable, Equatable {
  /// An update is skipped where loss or gradient norm is this many standard deviations above its
  /// mean over recent steps; 0: never.
  public var outlierZScore = 0.0
  /// Recent steps.
  public var outlierWindow = 100
}

public struct CheckpointSection: Codable, Sendable, Equatable {
  /// Steps between checkpoints; the last step always has one. 0: only the last step.
  public var everySteps = 1000
  /// Newest checkpoints that are kept.
  public var keepLast = 2
  /// Checkpoints of steps that this divides are kept for ever; 0: none.
  public var keepEvery = 0
  /// Written by a thread of each rank while training goes on, from a copy of the rank's part of the
  /// state: 12 bytes a parameter over all ranks. False: training waits for the disk.
  public var asynchronous = true
}

public struct LoggingSection: Codable, Sendable, Equatable {
  /// Steps between console lines where the console is no terminal.
  public var everySteps = 10
  /// Steps between held-out losses, where `data.validation` names shards; 0: never.
  public var validateEverySteps = 1000
  /// Micro-batches of a held-out loss.
  public var validationBatches = 16
  /// Also writes the figures of each step for TensorBoard: events.out.tfevents.* beside the metrics.
  public var tensorBoard = true
}

/// A look at what the model has learned, while it is trained.
public struct EvaluationSection: Codable, Sendable, Equatable {
  /// Steps between evaluations; `data.train` and `data.validation` need labels; 0: never. Of an
  /// encoder by nearest neighbours (`knnTop1`, `knnTop5`), of a classifier by its own answers
  /// (`validationTop1`, `validationTop5`).
  public var everySteps = 0
  /// Training images that vote, at most, spread evenly over the data set.
  public var trainImages = 10_000
  /// Validation images, at most.
  public var validationImages = 2_000
  /// `class` token, or `mean` of the patch tokens.
  public var features = FeatureKind.classToken
}

extension TrainingConfiguration {
  /// The encoder's picture of a crop.
  public var encoderView: ViewSpecification {
    ViewSpecification(
      size: model.imageSize, filter: .bicubic, mean: data.mean.map(Float.init),
      standardDeviation: data.standardDeviation.map(Float.init))
  }

  public func viewPlan(_ views: [ViewSpecification]) -> ViewPlan {
    var plan = ViewPlan(
      cropScale: data.cropScale[0]...data.cropScale[1],
      cropAspect: data.cropAspect[0]...data.cropAspect[1], flipProbability: data.flipProbability,
      colorJitter: data.colorJitter, views: views)
    plan.fixedViews = data.fixedViews
    plan.randomErasing = data.randomErasing
    if data.randAugment > 0 {
      plan.randAugment = RandAugmentPlan(
        magnitude: data.randAugment, mean: data.mean.map(Float.init))
    }
    return plan
  }

  /// How pictures are made whose targets are computed beforehand: equal settings have equal texts.
  var pictureSettings: String {
    "crops of \(data.cropScale) of the area, aspect \(data.cropAspect), flips \(data.flipProbability), "
      + "colour jitter \(data.colorJitter)"
      + (data.randAugment > 0 ? ", RandAugment \(data.randAugment) on \(data.mean)" : "")
      + (data.randomErasing > 0 ? ", erasing \(data.randomErasing)" : "")
  }

  /// Learning rate over the whole run: steps = floor(epochs x samples / global batch), and the
  /// same for warm-up.
  public func schedule(samples: Int) -> WarmupCosineSchedule {
    func steps(_ epochs: Double) -> Int {
      Int(epochs * Double(samples) / Double(parallelism.globalBatchSize))
    }
    return WarmupCosineSchedule(
      peak: optimizer.learningRate, minimum: optimizer.minimumLearningRate,
      warmupSteps: min(steps(schedule.warmupEpochs), steps(schedule.epochs)),
      totalSteps: steps(schedule.epochs))
  }

  /// How ranks share an update.
  public var exchange: ExchangeOptions {
    var options = ExchangeOptions()
    options.kind = parallelism.gradientExchange
    options.wire = parallelism.wire
    options.sharding = parallelism.sharding
    options.bucketBytes = parallelism.bucketBytes
    options.overlaps = parallelism.overlap
    options.isDeterministic = parallelism.deterministic
    options.sharesMemory = parallelism.sharedParameters
    return options
  }

  /// Micro-batches of a rank in one step.
  ///
  /// - Throws: Where the ranks do not divide the global batch, naming numbers that do.
  public func accumulationSteps(worldSize: Int) throws(ConfigurationError) -> Int {
    let microBatches = parallelism.globalBatchSize / parallelism.microBatchSize
    guard microBatches % worldSize == 0 else {
      let possible = (1...microBatches).filter { microBatches % $0 == 0 }.map(String.init)
      throw ConfigurationError(
        "parallelism.globalBatchSize",
        "\(parallelism.globalBatchSize) is \(microBatches) micro-batches of "
          + "\(parallelism.microBatchSize), which \(worldSize) ranks do not divide; use "
          + "\(possible.suffix(8).joined(separator: ", ")) ranks, or change the batch")
    }
    let possible = MicroBatchOrder.deterministicWorldSizes(microBatches: microBatches)
    guard !parallelism.deterministic || possible.contains(worldSize) else {
      throw ConfigurationError(
        "parallelism.deterministic",
        "a step of \(microBatches) micro-batches has the same bits on "
          + "\(possible.map(String.init).joined(separator: ", ")) ranks, not on \(worldSize): each "
          + "rank's share must be a power of two")
    }
    return microBatches / worldSize
  }

  /// The largest number of ranks, at most `limit`, that a step can be divided among; 1 always can.
  public func largestWorldSize(upTo limit: Int) -> Int {
    (1...max(1, limit)).last { (try? accumulationSteps(worldSize: $0)) != nil } ?? 1
  }
}
