import Interfaces

/// What `cae-dist evaluate` is asked for.
public struct EvaluationRequest: Sendable {
  public enum Recipe: Sendable {
    case nearestNeighbours(count: Int)
    case linear(ProbeOptions)
    case attentive(ProbeOptions)

    public var name: String {
      switch self {
      case .nearestNeighbours: "knn"
      case .linear: "linear"
      case .attentive: "attentive"
      }
    }
  }

  public var recipe: Recipe
  /// A run, a checkpoint, or a merged file.
  public var checkpoint: String
  public var source = EncoderSource.pretrained
  /// Ignored by attentive probing, which takes all tokens.
  public var features = FeatureKind.classToken
  /// Labelled shards; empty: those of the run.
  public var train: [String] = []
  public var validation: [String] = []
  /// Where the shards name none.
  public var classes: Int?
  /// A trained head, which is only evaluated.
  public var head: String?
  /// Folder of results; nil: `evaluations` in the run's folder.
  public var output: String?

  public init(_ recipe: Recipe, checkpoint: String) {
    self.recipe = recipe
    self.checkpoint = checkpoint
  }

  /// What is taken from each image.
  var kind: FeatureKind {
    if case .attentive = recipe { .tokens } else { features }
  }

  func validate() throws(ConfigurationError) {
    switch recipe {
    case .attentive where source == .pixels:
      throw ConfigurationError(
        "--encoder", "must be pretrained or untrained for attentive probing, which needs tokens")
    case .linear where features == .tokens, .nearestNeighbours where features == .tokens:
      throw ConfigurationError("--features", "must be class or mean, not tokens")
    case .nearestNeighbours(let count) where count < 1:
      throw ConfigurationError("--neighbours", "must be at least 1, not \(count)")
    default: return
    }
  }

  /// Names files of the result.
  func name(step: Int) -> String {
    let features = source == .pixels ? [] : recipe.name == "attentive" ? [] : [features.rawValue]
    let digits = String(step)
    let state =
      source == .pretrained
      ? "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
      : source.rawValue
    return ([recipe.name] + features + [state]).joined(separator: "-")
  }
}

/// What an evaluation has found.
public struct EvaluationResult: Encodable, Sendable {
  public var `protocol`: String
  public var encoder: EncoderSource
  public var features: String
  public var checkpoint: String
  /// Updates that the encoder has seen.
  public var step: Int
  /// Shares of the validation images, each counted once.
  public var top1: Double
  public var top5: Double
  public var count: Int
  public var classes: Int
  /// Nearest neighbours: with the mean of the training features subtracted.
  public var centredTop1: Double?
  public var centredTop5: Double?
  /// Probes: batch norm by the statistics of each 384 validation images, as CAE's code does.
  public var batchStatisticsTop1: Double?
  public var batchStatisticsTop5: Double?
  /// Probes: the best epoch by validation, which is what published numbers are.
  public var bestTop1: Double?
  public var bestEpoch: Int?
  /// What it was trained by.
  public var recipe: String?
  public var seconds: Double
  /// Where result, confusion matrix and head are, without suffix.
  public var files: String

  /// As people read it.
  public var lines: [String] {
    func percent(_ share: Double) -> String {
      let tenths = Int((share * 1000).rounded())
      return "\(tenths / 10).\(tenths % 10) %"
    }
    var lines = [
      "\(self.protocol), \(encoder.rawValue) encoder, \(features) features, step \(step): "
        + "top-1 \(percent(top1)), top-5 \(percent(top5)) of \(count) images, \(classes) classes"
    ]
    if let centredTop1 { lines.append("with centred features: top-1 \(percent(centredTop1))") }
    if let batchStatisticsTop1 {
      lines.append(
        "with batch norm by each batch's own statistics: top-1 \(percent(batchStatisticsTop1))")
    }
    if let bestTop1, let bestEpoch {
      lines.append("best epoch: \(bestEpoch), top-1 \(percent(bestTop1))")
    }
    lines.append("in \(files).json, confusion matrix in \(files)-confusion.csv")
    return lines
  }
}
