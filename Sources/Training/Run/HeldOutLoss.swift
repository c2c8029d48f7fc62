import Interfaces
import Models
import NN
import ShardedData

/// The method's own loss on images that it is not trained on: no augmentation, no stochastic
/// depth, the same images and masks every time.
struct HeldOutLoss {
  private let run: TrainingRun
  private let images: LabelledImages
  private let tape: Tape
  private let step: StepInfo
  private let stop: StopDecision

  init(
    _ run: TrainingRun, images: LabelledImages, tape: Tape, step: StepInfo, stop: StopDecision
  ) {
    self.stop = stop
    self.run = run
    self.images = images
    self.tape = tape
    self.step = StepInfo(
      step: step.step, totalSteps: step.totalSteps, seed: step.seed, isTraining: false)
  }

  /// Collective: micro-batches are dealt out to the ranks.
  ///
  /// - Returns: Nil for all where one of them is to stop meanwhile; and what they know then.
  func evaluate() throws -> (means: LossSums?, flags: StepFlags) {
    let local = Result { try localSums() }
    let isGivenUp = if case .success(nil) = local { true } else { false }
    let (sums, flags) = try Agreement(run.group).settle(
      local, stop.flags(isGivenUp: isGivenUp))
    guard let sums, !flags.isGivenUp else { return (nil, flags) }
    return (try sums.mean(over: run.group, count: wanted), flags)
  }

  private var wanted: Int { run.configuration.training.logging.validationBatches }

  /// Rounded up, so that every rank has as many; those beyond the wanted ones do not count, or
  /// the loss would depend on the number of ranks.
  private var batchesPerRank: Int { (wanted + run.group.worldSize - 1) / run.group.worldSize }

  /// - Returns: Nil where it is given up.
  private func localSums() throws -> LossSums? {
    let micro = run.configuration.training.parallelism.microBatchSize
    let (count, first, samples) = (
      batchesPerRank, run.group.rank * batchesPerRank, images.count
    )
    let transform = LoaderTransform.evaluation(
      run.method.views, cropShare: run.configuration.training.data.validationCropShare)
    let loader = try BatchLoader(
      index: images.index, transform: transform, options: run.loaderOptions
    ) { request in
      guard request < count else { return nil }
      return (0..<micro).map {
        SampleKey(epoch: 0, sample: ((first + request) * micro + $0) % samples)
      }
    }
    defer { loader.stop() }
    var sums = LossSums()
    var number = first
    while !stop.isDue, let batch = try loader.next(unless: { stop.isDue }) {
      try images.check(batch)
      let output = tape.withoutGradient {
        run.method.losses(for: batch, ForwardContext(tape: tape, keys: batch.keys, step: step))
      }
      sums.add(output, counts: number < wanted)
      number += 1
    }
    return number < first + count ? nil : sums
  }
}
