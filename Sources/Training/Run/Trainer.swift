import DataParallel
import Foundation
import Interfaces
import Models
import NN
import ShardedData
import TensorCore

/// The loop: batches, gradients, exchange, update, log, checkpoint.
///
/// It knows methods only by `PretrainingMethod`, ranks only by `ProcessGroup`.
public final class Trainer {
  private let run: TrainingRun
  private let agreement: Agreement
  private let reducer: GradientReducer
  private let sink: FlatGradientSink
  private let tape: Tape
  private let folder: RunFolder
  private let progress: ProgressLine?
  /// Updates done.
  private var step: Int
  /// A write that failed on rank 0 after the step's agreement; the next one carries it.
  private var pendingFailure: (any Error)?
  private var dataWaitMilliseconds = 0.0

  /// - Parameters:
  ///   - folder: The run's output, resumed already.
  ///   - step: Updates that the state has seen.
  public init(_ run: TrainingRun, folder: RunFolder, step: Int, showsProgress: Bool = true) {
    self.run = run
    self.folder = folder
    self.step = step
    agreement = Agreement(run.group)
    reducer = GradientReducer(
      gradientCount: run.gradients.count,
      bucketBytes: run.configuration.training.parallelism.bucketBytes, group: run.group)
    sink = FlatGradientSink(run.gradients, for: run.state.tree)
    tape = Tape(parameters: run.state.parameters, pool: run.pool)
    tape.keepsBlockInputsOnly =
      run.configuration.training.parallelism.activationCheckpointing == .blocks
    progress =
      showsProgress && run.group.rank == 0
      ? ProgressLine(
        totalSteps: run.totalSteps,
        everySteps: run.configuration.training.logging.everySteps) : nil
  }

  /// Trains to the end of the schedule.
  ///
  /// Collective. Blocking. Every error has been agreed by all ranks.
  ///
  /// - Parameter stopAfter: Updates after which it stops early, with a checkpoint; for tests.
  public func train(stopAfter: Int = .max) throws {
    let loader = try agreement.run { try makeLoader() }
    defer { loader.stop() }
    let last = min(run.totalSteps, stopAfter)
    while step < last {
      var record = try trainStep(loader)
      step += 1
      try validate(&record)
      log(record, isLast: step == last)
      try afterStep(isLast: step == last)
    }
    try agreement.settle(pendingResult())
  }

  private func makeLoader() throws -> BatchLoader {
    let parallelism = run.configuration.training.parallelism
    let (sampler, first, count, rank) = (
      run.sampler, step, run.accumulationSteps, run.group.rank
    )
    let (total, micro, global) = (
      run.totalSteps, parallelism.microBatchSize, parallelism.globalBatchSize
    )
    return try BatchLoader(
      index: run.trainIndex,
      transform: .training(run.configuration.training.viewPlan(run.method.views)),
      seed: sampler.seed, depth: parallelism.prefetchBatches
    ) { request in
      let step = first + request / count
      guard step < total else { return nil }
      // Rank r takes the consecutive micro-batches r * count ..< (r + 1) * count of the step.
      return sampler.samples(
        step: step, microBatch: rank * count + request % count, microBatchSize: micro,
        globalBatchSize: global)
    }
  }

  /// One update.
  private func trainStep(_ loader: BatchLoader) throws -> StepRecord {
    let started = Trainer.now()
    sink.beginStep()
    let local = Result { () throws -> LossSums in
      if let failure = pendingFailure { throw failure }
      return try runMicroBatches(loader)
    }
    sink.endStep()
    let sums = try agreement.settle(local)
    let microBatches = run.accumulationSteps * run.group.worldSize
    let means = try reduce(sums, count: microBatches)
    try reducer.reduce(run.gradients)
    let learningRate = run.schedule.value(at: step)
    let norm = run.state.optimizer.update(
      run.state.parameters, gradients: run.gradients, gradientCount: microBatches,
      learningRate: learningRate, step: step + 1, pool: run.pool)
    guard norm.isFinite else {
      throw agreement.common(
        TrainingError.nonFinite(quantity: "gradient norm", step: step + 1, rank: nil))
    }
    try run.method.didUpdateParameters(run.state.parameters, at: stepInfo(), in: run.group)
    return try record(means, norm: norm, learningRate: learningRate, since: started)
  }

  private func runMicroBatches(_ loader: BatchLoader) throws -> LossSums {
    var sums = LossSums()
    let waited = loader.waitMilliseconds
    for _ in 0..<run.accumulationSteps {
      guard let batch = try loader.next() else {
        throw TrainingError.input(
          path: run.configuration.training.data.train[0], reason: "the loader ended early")
      }
      let output = run.method.losses(
        for: batch, ForwardContext(tape: tape, keys: batch.keys, step: stepInfo()))
      sums.add(output)
      tape.backward(
        from: output.terms.map { ($0.loss.variable, Float($0.weight)) }, into: sink)
    }
    dataWaitMilliseconds = loader.waitMilliseconds - waited
    return sums
  }

  /// Means over the micro-batches of all ranks; an error where the loss is not finite.
  private func reduce(_ sums: LossSums, count: Int) throws -> LossSums {
    let local = sums.total
    let means = try sums.mean(over: run.group, count: count)
    guard !means.total.isFinite else { return means }
    let guilty = local.isFinite ? 0 : Double(run.group.worldSize - run.group.rank)
    let lowest = try run.group.allReduceMaximum([guilty])[0]
    throw agreement.common(
      TrainingError.nonFinite(
        quantity: "loss", step: step + 1,
        rank: lowest > 0 ? run.group.worldSize - Int(lowest) : nil))
  }

  private func record(
    _ means: LossSums, norm: Double, learningRate: Double, since started: Double
  ) throws -> StepRecord {
    let global = run.configuration.training.parallelism.globalBatchSize
    let times = try run.group.allReduceMaximum([
      (Trainer.now() - started) * 1e3, dataWaitMilliseconds,
    ])
    var record = StepRecord(step: step + 1)
    let samples = (step + 1) * global
    record.set("epoch", Double(samples) / Double(run.sampler.count))
    record.set("samplesSeen", Double(samples))
    record.set("loss", means.total)
    for term in means.terms { record.set("loss\(term.name)", term.value) }
    for scalar in means.scalars { record.set(scalar.name, scalar.value) }
    record.set("gradientNorm", norm)
    record.set("learningRate", learningRate)
    record.set("imagesPerSecond", Double(global) / (times[0] / 1e3))
    record.set("stepMilliseconds", times[0])
    record.set("dataWaitMilliseconds", times[1])
    return record
  }

  private func log(_ record: StepRecord, isLast: Bool) {
    progress?.show(record, isLast: isLast)
    do { try folder.append(record) } catch { pendingFailure = error }
  }

  /// What happens now and then between steps.
  private func afterStep(isLast: Bool) throws {
    let training = run.configuration.training
    if isDue(training.parallelism.compareEverySteps) || isLast {
      if let divergence = try ConsistencyCheck.divergence(
        of: run.state.parameters, step: step, in: run.group)
      {
        throw agreement.common(TrainingError.diverged(divergence))
      }
    }
    if isDue(training.checkpoint.everySteps) || isLast { try checkpoint() }
  }

  private func isDue(_ interval: Int) -> Bool { interval > 0 && step % interval == 0 }

  private func checkpoint() throws {
    let path = try agreement.run { () throws -> String in
      if let failure = pendingFailure { throw failure }
      return try folder.saveCheckpoint(run, step: step)
    }
    progress?.note("checkpoint \(path)")
  }

  /// Adds the held-out loss where one is due.
  private func validate(_ record: inout StepRecord) throws {
    guard isDue(run.configuration.training.logging.validateEverySteps),
      let index = run.validationIndex
    else { return }
    let means = try HeldOutLoss(run, index: index, tape: tape, step: stepInfo()).evaluate()
    record.set("validationLoss", means.total)
    for term in means.terms { record.set("validationLoss\(term.name)", term.value) }
    for scalar in means.scalars {
      record.set(
        "validation" + scalar.name.prefix(1).uppercased() + scalar.name.dropFirst(), scalar.value)
    }
  }

  private func stepInfo() -> StepInfo {
    StepInfo(
      step: step, totalSteps: run.totalSteps,
      seed: UInt64(run.configuration.training.run.seed))
  }

  private func pendingResult() -> Result<Void, any Error> {
    pendingFailure.map { .failure($0) } ?? .success(())
  }

  private static func now() -> Double { ProcessInfo.processInfo.systemUptime }
}
