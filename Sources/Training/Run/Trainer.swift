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
  private let tape: Tape
  private let folder: RunFolder
  private let progress: ProgressLine?
  /// Updates done.
  private var step: Int
  private let firstStep: Int
  private let injection: Injection?
  private var outliers: OutlierGuard
  private let saving: CheckpointSaving
  /// A write that failed on rank 0 after the step's agreement; the next one carries it.
  private var pendingFailure: (any Error)?
  private var dataWaitMilliseconds = 0.0
  private let track: Timeline.Track
  private let trace: StepTrace?
  private var stragglers: Stragglers
  /// Of this step, until all ranks have agreed that its sums are complete.
  private var agreementSeconds = 0.0
  private let stop: StopDecision
  /// Made when it is first due.
  private var online: (any OnlineEvaluation)?
  /// Why all ranks stop.
  private var stopReason: StopReason?
  /// Whether some rank was writing a checkpoint at the end of the step.
  private var isAnyWriting = false

  /// - Parameters:
  ///   - folder: The run's output, resumed already.
  ///   - point: What the state has seen.
  ///   - injection: A fault to show.
  ///   - request: Asked to stop by it, the run does so.
  ///   - clock: What the time limit is counted by.
  public init(
    _ run: TrainingRun, folder: RunFolder, from point: ResumePoint, injection: Injection? = nil,
    request: StopRequest = StopRequest(), clock: JobClock = JobClock(), showsProgress: Bool = true
  ) {
    self.injection = injection
    self.run = run
    self.folder = folder
    step = point.step
    agreement = Agreement(run.group)
    firstStep = point.step
    stop = StopDecision(
      run.group, request, clock, timeLimit: run.timeLimit,
      stateBytes: 3 * run.optimizer.parameters.count * MemoryLayout<Float>.stride)
    outliers = OutlierGuard(run.configuration.training.guards, recent: point.recent)
    track = run.timeline.track("training")
    trace = StepTrace(run, agreement)
    stragglers = Stragglers(
      run.layout, threads: run.configuration.training.parallelism.threadsPerRank)
    tape = Tape(parameters: run.optimizer.parameters, pool: run.pool)
    tape.keepsBlockInputsOnly =
      run.configuration.training.parallelism.activationCheckpointing == .blocks
    let progress =
      showsProgress && run.group.rank == 0
      ? ProgressLine(
        totalSteps: run.totalSteps,
        everySteps: run.configuration.training.logging.everySteps) : nil
    self.progress = progress
    saving = CheckpointSaving(run, folder, agreement, resumed: point, injection) {
      progress?.note($0)
    }
  }

  /// Trains to the end of the schedule, or until it is to stop: then the micro-batches of an
  /// unfinished step are dropped, and what was done before is saved.
  ///
  /// Collective. Blocking. Every error has been agreed by all ranks.
  ///
  /// - Parameter stopAfter: Updates after which it stops early, with a checkpoint; for tests.
  @discardableResult
  public func train(stopAfter: Int = .max) throws -> TrainingOutcome {
    let loader = try agreement.run { try makeLoader() }
    defer { loader.stop() }
    let last = min(run.totalSteps, stopAfter)
    do {
      while step < last, stopReason == nil, try trainStep(loader, last: last) {}
      // A step that was begun before a stop may have been the last one.
      let isStopped = stopReason != nil && step < last
      if isStopped { try saveBeforeLeaving() }
      try saving.finish()
      // After the checkpoint: whoever stops a run may not wait long.
      if let trace { try write(trace) }
      try agreement.settle(pendingResult())
      return stopReason.flatMap { isStopped ? .stopped($0) : nil } ?? .finished
    } catch let failure as AgreedFailure {
      // What was saved before is not lost to what came after it.
      try? saving.finish()
      throw failure
    }
  }

  /// A step and what belongs to it.
  ///
  /// - Returns: False where it was given up.
  private func trainStep(_ loader: BatchLoader, last: Int) throws -> Bool {
    try trace?.begin(step: step + 1)
    guard var record = try track.span("step", number: step + 1, { try update(loader) }) else {
      return false
    }
    step += 1
    let updated = Timeline.now()
    try validate(&record)
    // Begun before the evaluation, which may take longer than all steps since the last one.
    let checkpoint = Result { try afterStep(isLast: step == last) }
    if case .success = checkpoint { try evaluate(&record) }
    if case .success(let seconds?) = checkpoint {
      record.set("checkpointStallMilliseconds", seconds * 1e3)
    }
    log(record, isLast: step == last)
    let hasBegun = try checkpoint.get() != nil
    // The line of a step is written before its checkpoint has its name.
    if !run.configuration.training.checkpoint.asynchronous {
      try saving.finish()
    } else if !hasBegun {
      try saving.advance(isAnyWriting: isAnyWriting)
    }
    if let seconds = saving.longestSeconds { stop.didSave(seconds: seconds) }
    track.add("after the step", number: step, from: updated)
    if let trace, trace.isComplete(step: step) { try write(trace) }
    return true
  }

  private func write(_ trace: StepTrace) throws {
    if let sentence = try trace.write(step: step) { progress?.note(sentence) }
  }

  /// What has been done since the newest checkpoint.
  private func saveBeforeLeaving() throws {
    progress?.close()
    try saving.finish()
    if step > 0, saving.savedStep != step { _ = try checkpoint() }
  }

  /// Updates done.
  public var stepsDone: Int { step }

  private func makeLoader() throws -> BatchLoader {
    let parallelism = run.configuration.training.parallelism
    let (sampler, first, microBatches) = (run.sampler, step, run.optimizer.microBatchIndices())
    let images = run.trainImages
    let (total, micro, global) = (
      run.totalSteps, parallelism.microBatchSize, parallelism.globalBatchSize
    )
    var plan = run.configuration.training.viewPlan(run.method.views)
    plan.pictureSize = run.targetIndex?.description.pictureSize ?? 0
    var options = run.loaderOptions
    options.timeline = run.traceSteps == nil ? nil : run.timeline
    return try BatchLoader(
      index: images.index, transform: .training(plan),
      targets: run.targetIndex, options: options
    ) { request in
      let step = first + request / microBatches.count
      guard step < total else { return nil }
      return sampler.samples(
        step: step, microBatch: microBatches[request % microBatches.count], microBatchSize: micro,
        globalBatchSize: global
      ).map { SampleKey(epoch: $0.epoch, sample: images.sample(at: $0.sample)) }
    }
  }

  /// The step up to the sums of its gradients.
  ///
  /// - Returns: Losses of this rank; nil on all ranks where one gave up the step.
  private func accumulate(_ loader: BatchLoader) throws -> LossSums? {
    run.stallGuard.enter(step: step + 1, isFirst: step == firstStep)
    injection?.strike(rank: run.group.rank, step: step + 1)
    stop.beginStep()
    run.optimizer.beginStep()
    let local = Result { () throws -> LossSums? in
      if let failure = pendingFailure { throw failure }
      return try runMicroBatches(loader)
    }
    // A rank that does not go on still takes part in the exchange, or the others would wait for it.
    let isComplete = if case .success(.some) = local { true } else { false }
    if !isComplete { run.optimizer.abandonStep() }
    try track.span("wait for exchange") { try run.optimizer.finishExchange() }
    var own = stop.flags(isGivenUp: !isComplete)
    own.isWriting = saving.isWriting
    let complete = Trainer.now()
    let (sums, flags) = try track.span("agree") { try agreement.settle(local, own) }
    agreementSeconds = Trainer.now() - complete
    stopReason = flags.stopReason
    isAnyWriting = flags.isWriting
    return flags.isGivenUp ? nil : sums
  }

  /// One update; nil where the step was given up.
  private func update(_ loader: BatchLoader) throws -> StepRecord? {
    let started = Trainer.now()
    let optimizer = run.optimizer
    guard let sums = try accumulate(loader) else { return nil }
    defer { stop.endStep() }
    let microBatches = run.accumulationSteps * run.group.worldSize
    let means = try sums.mean(over: run.group, count: microBatches)
    let gradients = try optimizer.summarize(gradientCount: microBatches)
    guard gradients.norm.isFinite, means.total.isFinite else {
      throw agreement.common(
        TrainingError.nonFinite(quantity: "gradient norm", step: step + 1, rank: nil))
    }
    let learningRate = run.schedule.value(at: step)
    let outlier = outliers.judge(loss: means.total, norm: gradients.norm)
    var waited = gradients.exposedSeconds
    if outlier == nil {
      do {
        waited += try track.span("update") {
          try optimizer.update(
            gradients, gradientCount: microBatches, learningRate: learningRate, step: step + 1)
        }
      } catch let error as CorruptedParameters {
        // The others hear of it in the next step's agreement, or before the checkpoint.
        pendingFailure = error
      }
      try run.method.didUpdateParameters(optimizer.parameters, at: stepInfo(), in: run.group)
      injection?.corrupt(
        optimizer.parameters.memory(0..<optimizer.parameters.count), rank: run.group.rank,
        step: step + 1)
    } else {
      try optimizer.hostBarrier()
    }
    let own = Trainer.now() - started - waited - agreementSeconds
    var record = try record(
      means, norm: gradients.norm, learningRate: learningRate, waited: waited, since: started)
    if let finding = try stragglers.add(own, in: run.group) { add(finding, to: &record) }
    if let outlier {
      record.set("skipped", 1)
      progress?.note("step \(step + 1): update skipped, \(outlier)")
    }
    return record
  }

  /// - Returns: Nil where the step is given up, as the run is to stop: before a micro-batch, or while
  ///   its data is waited for. After the last one the step is rather finished.
  private func runMicroBatches(_ loader: BatchLoader) throws -> LossSums? {
    var sums = LossSums()
    let started = Trainer.now()
    let waited = loader.waitMilliseconds
    for index in 0..<run.accumulationSteps {
      if stop.isDue { return nil }
      run.optimizer.beginMicroBatch(index)
      let next = try track.span("wait for data") { try loader.next(unless: { stop.isDue }) }
      guard let batch = next else {
        if stop.isDue { return nil }
        throw TrainingError.input(
          path: run.configuration.training.data.train[0], reason: "the loader ended early")
      }
      try run.trainImages.check(batch)
      let context = ForwardContext(tape: tape, keys: batch.keys, step: stepInfo())
      let output = track.span("forward", number: index) { run.method.losses(for: batch, context) }
      sums.add(output)
      let isPoisoned = injection?.isDue(.nan, rank: run.group.rank, step: step + 1) ?? false
      _ = track.span("backward", number: index) {
        tape.backward(
          from: output.terms.map { ($0.loss.variable, isPoisoned ? .nan : Float($0.weight)) },
          into: run.optimizer.sink)
      }
      try run.optimizer.endMicroBatch()
    }
    dataWaitMilliseconds = loader.waitMilliseconds - waited
    injection?.straggle(
      rank: run.group.rank, step: step + 1, seconds: Trainer.now() - started)
    // Found where it arose: after the exchange every rank has it.
    if !sums.total.isFinite { throw nonFinite("loss") }
    if let name = run.optimizer.nonFiniteParameter { throw nonFinite("gradient of \(name)") }
    return sums
  }

  private func nonFinite(_ quantity: String) -> TrainingError {
    TrainingError.nonFinite(quantity: quantity, step: step + 1, rank: run.group.rank)
  }

  private func record(
    _ means: LossSums, norm: Double, learningRate: Double, waited: Double, since started: Double
  ) throws -> StepRecord {
    let global = run.configuration.training.parallelism.globalBatchSize
    let times = try run.group.allReduceMaximum([
      (Trainer.now() - started) * 1e3, dataWaitMilliseconds, waited * 1e3,
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
    record.set("exposedCommunicationMilliseconds", times[2])
    return record
  }

  private func add(_ finding: Stragglers.Finding, to record: inout StepRecord) {
    record.set("slowestOwnMilliseconds", finding.seconds * 1e3)
    record.set("fastestOwnMilliseconds", finding.fastestSeconds * 1e3)
    if let sentence = stragglers.sentence(finding, step: step + 1) { progress?.note(sentence) }
  }

  private func log(_ record: StepRecord, isLast: Bool) {
    progress?.show(record, isLast: isLast)
    do { try folder.append(record) } catch { pendingFailure = error }
  }

  /// What happens now and then between steps.
  ///
  /// - Returns: Seconds that a checkpoint has taken; nil without one.
  private func afterStep(isLast: Bool) throws -> Double? {
    let training = run.configuration.training
    if isDue(training.parallelism.compareEverySteps) || isLast {
      if let divergence = try ConsistencyCheck.divergence(
        of: run.optimizer.parameters, step: step, in: run.group)
      {
        throw agreement.common(TrainingError.diverged(divergence))
      }
    }
    return isDue(training.checkpoint.everySteps) || isLast ? try checkpoint() : nil
  }

  private func isDue(_ interval: Int) -> Bool { interval > 0 && step % interval == 0 }

  /// - Returns: Seconds that training has waited.
  private func checkpoint() throws -> Double {
    try agreement.run {
      if let failure = pendingFailure { throw failure }
      // No update has looked at the weights since they were written.
      try run.optimizer.check()
    }
    return try saving.begin(step: step, recent: outliers)
  }

  /// Adds the held-out loss where one is due, unless the run stops meanwhile.
  private func validate(_ record: inout StepRecord) throws {
    guard stopReason == nil, isDue(run.configuration.training.logging.validateEverySteps),
      let images = run.validationImages
    else { return }
    let (means, flags) = try HeldOutLoss(
      run, images: images, tape: tape, step: stepInfo(), stop: stop
    ).evaluate()
    stopReason = flags.stopReason
    guard let means else { return }
    record.set("validationLoss", means.total)
    for term in means.terms { record.set("validationLoss\(term.name)", term.value) }
    for scalar in means.scalars {
      record.set(
        "validation" + scalar.name.prefix(1).uppercased() + scalar.name.dropFirst(), scalar.value)
    }
  }

  /// Adds the accuracy on validation images where it is due.
  private func evaluate(_ record: inout StepRecord) throws {
    guard stopReason == nil, isDue(run.configuration.training.evaluation.everySteps) else { return }
    let evaluation = try online ?? run.makeOnlineEvaluation()
    online = evaluation
    let accuracy = try evaluation.evaluate()
    record.set("\(evaluation.name)Top1", accuracy.top1Share)
    record.set("\(evaluation.name)Top5", accuracy.top5Share)
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
