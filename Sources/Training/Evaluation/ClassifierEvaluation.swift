import DataParallel
import Interfaces
import Models
import NN
import ShardedData
import TensorCore

/// Answers of a run's classifier to its validation images, each counted once. Batches are the same
/// on any number of ranks, and so are the answers.
final class ClassifierEvaluation: OnlineEvaluation {
  let name = "validation"
  let images: LabelledImages
  /// Small: a forward pass of it must not take more memory than a step.
  private static let batch = 16
  private let run: TrainingRun
  private let classifier: any ClassifierMethod
  private let tape: Tape

  /// - Parameter limit: Images, at most; nil: all.
  init(_ run: TrainingRun, _ classifier: any ClassifierMethod, limit: Int?) throws {
    let training = run.configuration.training
    (self.run, self.classifier) = (run, classifier)
    images = try LabelledImages(
      paths: training.data.validation, key: "data.validation", classes: classifier.classes,
      limit: limit, training)
    tape = Tape(parameters: run.optimizer.parameters, pool: run.pool)
  }

  func evaluate() throws -> Accuracy {
    let training = run.configuration.training
    let pass = FeaturePass(
      features: { [unowned self] in logits(of: $0) }, images: images,
      batches: OrderedBatches(count: images.count, size: ClassifierEvaluation.batch),
      transform: .evaluation(
        [training.encoderView], cropShare: training.data.validationCropShare),
      options: run.loaderOptions, group: run.group)
    var found = Accuracy(classes: classifier.classes)
    try Agreement(run.group).run {
      try pass.run { number, logits, labels in
        found.add(logits: logits, labels: labels.prefix(pass.batches.samples(of: number).count))
      }
    }
    return try found.summed(run.group)
  }

  private func logits(of images: Tensor) -> Tensor {
    let keys = (0..<images.shape[0]).map { SampleKey(epoch: 0, sample: $0) }
    let step = StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false)
    return classifier.logits(
      of: images, ForwardContext(tape: tape, keys: keys, step: step))
  }
}
