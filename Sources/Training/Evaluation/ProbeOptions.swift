public import Interfaces

/// Which pictures of a training image a probe sees.
public enum ProbeViews: Equatable, Sendable, CustomStringConvertible {
  /// A new random crop and flip every epoch, as published; the encoder runs in every step.
  case fresh
  /// The picture that is evaluated, too; features are computed once.
  case plain
  /// Epochs go round among so many random pictures, whose features are computed once.
  case fixed(Int)

  /// - Throws: Where the text is none of `fresh`, `plain` or a number above 0.
  public init(_ text: String) throws(ConfigurationError) {
    switch text {
    case "fresh": self = .fresh
    case "plain": self = .plain
    default:
      guard let count = Int(text), count > 0 else {
        throw ConfigurationError("--views", "must be fresh, plain or a number, not \(text)")
      }
      self = .fixed(count)
    }
  }

  public var description: String {
    switch self {
    case .fresh: "fresh"
    case .plain: "plain"
    case .fixed(let count): "\(count)"
    }
  }
}

/// Whose rows batch norm's statistics are of.
public enum BatchScope: String, CaseIterable, Sendable, Codable {
  /// The batch's, over all ranks: the same on any number of them.
  case all
  /// A rank's own, as published runs have it.
  case rank
}

/// How a probe is trained.
public struct ProbeOptions: Equatable, Sendable {
  public var epochs: Double
  public var warmupEpochs: Double
  /// Over all ranks.
  public var batchSize: Int
  /// Linear: `baseLearningRate x batchSize / 256`; attentive: absolute.
  public var learningRate: Double
  public var views = ProbeViews.fresh
  public var statistics = BatchScope.all
  public var seed = 0

  /// The published recipe of a linear probe: LARS at 0.1 x 16384 / 256.
  public static let linear = ProbeOptions(
    epochs: 90, warmupEpochs: 10, batchSize: 16384, learningRate: 6.4)
  /// The published recipe of an attentive probe: SGD with Nesterov's momentum.
  public static let attentive = ProbeOptions(
    epochs: 90, warmupEpochs: 10, batchSize: 8192, learningRate: 0.4)

  public init(epochs: Double, warmupEpochs: Double, batchSize: Int, learningRate: Double) {
    self.epochs = epochs
    self.warmupEpochs = warmupEpochs
    self.batchSize = batchSize
    self.learningRate = learningRate
  }

  /// - Throws: A sentence for the first value that no probe can have.
  func validate(worldSize: Int, samples: Int) throws(ConfigurationError) {
    guard epochs > 0, epochs <= 1e6, warmupEpochs >= 0, warmupEpochs < epochs else {
      throw ConfigurationError(
        "--epochs",
        "must be above 0, and --warmup-epochs below it, not \(epochs) and \(warmupEpochs)")
    }
    guard learningRate > 0, learningRate.isFinite else {
      throw ConfigurationError("--learning-rate", "must be above 0, not \(learningRate)")
    }
    guard batchSize > 0, batchSize % worldSize == 0 else {
      throw ConfigurationError(
        "--batch-size", "\(batchSize) is no multiple of \(worldSize) ranks; choose one")
    }
    guard batchSize <= samples else {
      throw ConfigurationError(
        "--batch-size",
        "\(batchSize) is more than there are training images, \(samples); "
          + "choose a smaller one, and --learning-rate with it")
    }
  }

  /// What a saved head was trained by.
  var text: String {
    "epochs \(epochs), warm-up \(warmupEpochs), batch \(batchSize), learning rate \(learningRate), "
      + "views \(views), statistics \(statistics.rawValue), seed \(seed)"
  }
}
