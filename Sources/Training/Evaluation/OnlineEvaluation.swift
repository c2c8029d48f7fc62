import DataParallel
import Models

/// What the model of a run that goes on is worth.
protocol OnlineEvaluation: AnyObject {
  /// The log has `<name>Top1` and `<name>Top5`.
  var name: String { get }

  /// Collective. Blocking.
  func evaluate() throws -> Accuracy
}

extension TrainingRun {
  /// By its own answers where it has some, else by neighbours of the encoder's features. Collective.
  func makeOnlineEvaluation() throws -> any OnlineEvaluation {
    guard let classifier = method as? any ClassifierMethod else {
      return try OnlineNeighbours(self)
    }
    return try Agreement(group).run {
      try ClassifierEvaluation(
        self, classifier, limit: configuration.training.evaluation.validationImages)
    }
  }
}
