import Interfaces
import Models
import NN

/// How `cae-dist evaluate finetune` trains; what is not said has the published value.
public struct FineTuneOptions: Sendable {
  public var epochs: Double?
  /// Over all ranks.
  public var batchSize: Int?
  /// Of the last layers; those before have less.
  public var learningRate: Double?
  /// Training images, spread evenly over the shards; nil: all.
  public var trainImages: Int?
  /// `section.key=value` of the run's configuration, stronger than all else.
  public var overrides: [String] = []

  public init() {}

  /// What CAE's authors fine-tune on ImageNet by.
  private struct Recipe {
    let epochs: Double
    let warmupEpochs = 5.0
    let learningRate: Double
    let layerDecay: Double
    let dropPathRate: Double

    static let batchSize = 4096
    /// ViT-B and smaller.
    static let base = Recipe(
      epochs: 100, learningRate: 8e-3, layerDecay: 0.65, dropPathRate: 0.1)
    static let large = Recipe(
      epochs: 50, learningRate: 2e-3, layerDecay: 0.75, dropPathRate: 0.2)
  }

  /// Evaluations and checkpoints of a run, at most.
  private static let looks = 20

  /// The configuration of a run of the method `supervised`.
  ///
  /// - Parameters:
  ///   - pretrained: Model, pictures and ways to run are its.
  ///   - images: In the training shards.
  func configuration(
    from pretrained: ResolvedConfiguration, _ place: FineTunePlace, images: Int, classes: Int,
    validationImages: Int, worldSize: Int
  ) throws(ConfigurationError) -> ResolvedConfiguration {
    try validate()
    let from = pretrained.training
    let recipe = from.model.depth > VisionTransformerConfiguration.base.depth ? Recipe.large : .base
    var training = TrainingConfiguration()
    training.run.seed = from.run.seed
    (training.run.output, training.run.initializeFrom) = (place.output, place.initializeFrom)
    training.model = from.model
    training.model.dropPathRate = recipe.dropPathRate
    training.data = data(from.data, place)
    training.parallelism = from.parallelism
    let batch = batchSize ?? Recipe.batchSize
    training.parallelism.globalBatchSize = batch
    training.parallelism.microBatchSize = try microBatchSize(
      atMost: from.parallelism.microBatchSize, batch: batch, worldSize: worldSize)
    training.optimizer = AdamWConfiguration(
      learningRate: learningRate
        ?? recipe.learningRate * Double(batch) / Double(Recipe.batchSize),
      minimumLearningRate: 1e-6, clipNorm: 0)
    training.schedule.epochs = epochs ?? recipe.epochs
    training.schedule.warmupEpochs =
      training.schedule.epochs / recipe.epochs * recipe.warmupEpochs
    let used = min(trainImages ?? images, images)
    let steps = Int(training.schedule.epochs * Double(used) / Double(batch))
    // Whole epochs, as far as they have whole numbers of steps.
    let ofEpoch = max(1, used / batch)
    let apart = FineTuneOptions.looks * ofEpoch
    let interval = ofEpoch * max(1, (steps + apart - 1) / apart)
    training.evaluation.everySteps = interval
    training.evaluation.validationImages = validationImages
    training.checkpoint.everySteps = interval
    training.logging.validateEverySteps = 0
    var method = Supervised.Configuration()
    (method.classes, method.layerDecay) = (classes, recipe.layerDecay)
    method.initialization =
      pretrained.methodValue("initialization").flatMap { InitializationScheme(rawValue: $0) }
      ?? method.initialization
    let resolved = try ConfigurationFile.resolve(
      training, method, of: Supervised.self, overrides: overrides)
    let settings = try resolved.methodConfiguration(of: Supervised.self)
    guard
      resolved.training.parallelism.microBatchSize > 1
        || settings.mixup == 0 && settings.cutMix == 0
    else {
      throw ConfigurationError(
        "--batch-size",
        "\(batch) gives \(worldSize) ranks micro-batches of one image, which has no other to be mixed "
          + "with; choose an even number of images a rank, or --set method.mixup=0 --set "
          + "method.cutMix=0")
    }
    return resolved
  }

  private func validate() throws(ConfigurationError) {
    if let epochs, !(epochs > 0 && epochs <= 1e6) {
      throw ConfigurationError("--epochs", "must be above 0 and at most a million, not \(epochs)")
    }
    if let trainImages, trainImages < 1 {
      throw ConfigurationError("--train-images", "must be at least 1, not \(trainImages)")
    }
  }

  private func data(_ from: DataSection, _ place: FineTunePlace) -> DataSection {
    var data = DataSection()
    (data.train, data.validation) = (place.train, place.validation)
    data.trainImages = trainImages ?? 0
    (data.mean, data.standardDeviation) = (from.mean, from.standardDeviation)
    data.validationCropShare = from.validationCropShare
    data.randAugment = from.mean.count == 1 || from.mean.count == 3 ? 9 : 0
    data.randomErasing = 0.25
    return data
  }

  /// The largest part of a rank's share of the batch that is no larger than in pretraining; an even
  /// one where there is one, as images are mixed in pairs.
  private func microBatchSize(
    atMost limit: Int, batch: Int, worldSize: Int
  ) throws(ConfigurationError) -> Int {
    guard batch > 0, batch % worldSize == 0 else {
      throw ConfigurationError(
        "--batch-size", "\(batch) is no multiple of \(worldSize) ranks; choose one")
    }
    let share = batch / worldSize
    let parts = (1...max(1, min(limit, share))).filter { share % $0 == 0 }
    return parts.last { $0 % 2 == 0 } ?? parts.last ?? 1
  }
}

/// Where a fine-tuning reads and writes.
struct FineTunePlace {
  let train: [String]
  let validation: [String]
  /// The checkpoint; empty: from scratch.
  let initializeFrom: String
  let output: String
}
