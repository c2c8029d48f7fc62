import DataParallel
import Interfaces
import Models
import NN
import ShardedData
import TensorCore

/// Nearest neighbours with the weights of a run that goes on.
final class OnlineNeighbours: OnlineEvaluation {
  let name = "knn"
  private static let neighbours = 20
  private static let batch = 64

  private let run: TrainingRun
  private let encoder: FrozenEncoder
  private let train: LabelledImages
  private let validation: LabelledImages
  private let bank: FeatureStore
  private let queries: FeatureStore

  /// Collective.
  init(_ run: TrainingRun) throws {
    self.run = run
    let (training, agreement) = (run.configuration.training, Agreement(run.group))
    let settings = training.evaluation
    let encoder = FrozenEncoder(of: run)
    self.encoder = encoder
    (train, validation) = try agreement.run {
      try encoder.copyWeights(run.optimizer.parameters, of: run.method.parameters)
      return (
        try LabelledImages(
          paths: training.data.train, key: "data.train", classes: nil,
          limit: settings.trainImages, training),
        try LabelledImages(
          paths: training.data.validation, key: "data.validation", classes: nil,
          limit: settings.validationImages, training)
      )
    }
    let shape = encoder.shape(of: settings.features)
    bank = try FeatureStore(count: train.count, pictures: 1, shape: shape, agreement: agreement)
    queries = try FeatureStore(
      count: validation.count, pictures: 1, shape: shape, agreement: agreement)
  }

  /// Collective. Blocking.
  func evaluate() throws -> Accuracy {
    let agreement = Agreement(run.group)
    try agreement.run {
      try encoder.copyWeights(run.optimizer.parameters, of: run.method.parameters)
    }
    for (store, images) in [(bank, train), (queries, validation)] {
      try store.compute(pass(over: images), agreement)
    }
    let search = NearestNeighbours(
      bank: bank, neighbours: min(OnlineNeighbours.neighbours, bank.count),
      classes: train.classes, pool: run.pool)
    return try search.accuracy(of: queries, isCentred: false, run.group)
  }

  private func pass(over images: LabelledImages) -> FeaturePass {
    let training = run.configuration.training
    return FeaturePass(
      features: { [encoder] in encoder.features(training.evaluation.features, of: $0) },
      images: images,
      batches: OrderedBatches(count: images.count, size: OnlineNeighbours.batch),
      transform: .evaluation(
        [training.encoderView], cropShare: training.data.validationCropShare),
      options: run.loaderOptions, group: run.group)
  }
}
