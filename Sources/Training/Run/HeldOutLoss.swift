import Interfaces
import Models
import NN
import ShardedData

/// The method's own loss on images that it is not trained on: no augmentation, no stochastic
/// depth, the same images and masks every time.
struct HeldOutLoss {
  private let run: TrainingRun
  private let index: ShardIndex
  private let tape: Tape
  private let step: StepInfo

  init(_ run: TrainingRun, index: ShardIndex, tape: Tape, step: StepInfo) {
    self.run = run
    self.index = index
    self.tape = tape
    self.step = StepInfo(
      step: step.step, totalSteps: step.totalSteps, seed: step.seed, isTraining: false)
  }

  /// Collective: micro-batches are dealt out to the ranks.
  func evaluate() throws -> LossSums {
    let agreement = Agreement(run.group)
    let sums = try agreement.run { try localSums() }
    return try sums.mean(over: run.group, count: wanted)
  }

  private var wanted: Int { run.configuration.training.logging.validationBatches }

  /// Rounded up, so that every rank has as many; those beyond the wanted ones do not count, or
  /// the loss would depend on the number of ranks.
  private var batchesPerRank: Int { (wanted + run.group.worldSize - 1) / run.group.worldSize }

  private func localSums() throws -> LossSums {
    let micro = run.configuration.training.parallelism.microBatchSize
    let (count, first, samples) = (
      batchesPerRank, run.group.rank * batchesPerRank, index.count
    )
    let transform = LoaderTransform.evaluation(
      run.method.views, cropShare: run.configuration.training.data.validationCropShare)
    let loader = try BatchLoader(
      index: index, transform: transform, options: run.loaderOptions
    ) { request in
      guard request < count else { return nil }
      return (0..<micro).map {
        SampleKey(epoch: 0, sample: ((first + request) * micro + $0) % samples)
      }
    }
    defer { loader.stop() }
    var sums = LossSums()
    var number = first
    while let batch = try loader.next() {
      let output = tape.withoutGradient {
        run.method.losses(for: batch, ForwardContext(tape: tape, keys: batch.keys, step: step))
      }
      sums.add(output, counts: number < wanted)
      number += 1
    }
    return sums
  }
}
