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
    return ([recipe.name] + features + [source.stateName(step: step)]).joined(separator: "-")
  }
}

extension EncoderSource {
  /// Of the weights, in names of files.
  func stateName(step: Int) -> String {
    guard self == .pretrained else { return rawValue }
    let digits = String(step)
    return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }
}
