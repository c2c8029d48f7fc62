import DataParallel
import Foundation
import Interfaces
import Models
import NN
import ShardedData
import TensorCore

/// A run from wherever its folder stands to its end, and what it is given beside its configuration.
struct TrainingJob {
  let group: any ProcessGroup
  let stallGuard: StallGuard
  /// What carries messages.
  var transport = "one process"
  var resume = ResumePolicy.auto
  var injection: Injection?
  var request = StopRequest()
  var clock = JobClock()
  var showsProgress = true
  /// More threads than cores have been asked for, or are somebody else's business.
  var mayOversubscribe = true
  /// Keys of the configuration that must not change when it goes on, beside those that never may.
  var fixedKeys: [[String]] = []
  /// Updates after which it stops early, with a checkpoint; for tests.
  var stopAfter = Int.max
  private let log: (String) -> Void

  enum Outcome: Equatable {
    /// So many steps, up to the last one.
    case trained(steps: Int)
    case nothingToDo
    /// Early, with everything saved.
    case stopped

    var code: ExitCode { self == .stopped ? .checkpointed : .success }
  }

  /// - Parameter log: Gets lines on the first rank.
  init(
    _ group: any ProcessGroup, _ stallGuard: StallGuard = StallGuard(),
    log: @escaping (String) -> Void
  ) {
    (self.group, self.stallGuard, self.log) = (group, stallGuard, log)
  }

  /// On the first rank.
  func say(_ text: String) { if group.rank == 0 { log(text) } }

  /// Collective. Blocking. Errors are agreed by all ranks.
  func train(
    _ configuration: ResolvedConfiguration
  ) throws -> (run: TrainingRun, outcome: Outcome) {
    let agreement = Agreement(group)
    let run = try TrainingRun(configuration, group: group, stallGuard: stallGuard)
    if !mayOversubscribe { try refuseOversubscription(run) }
    let folder = try agreement.run { try RunFolder(path: run.output, rank: group.rank) }
    let point = try Resume(run, fixedKeys: fixedKeys).restore(resume)
    try agreement.run { try folder.open(run, step: point.step) }
    announce(run, point.notes)
    guard point.step < run.totalSteps else { return (run, .nothingToDo) }
    let trainer = Trainer(
      run, folder: folder, from: point, injection: injection, request: request, clock: clock,
      showsProgress: showsProgress)
    if case .stopped(let reason) = try trainer.train(stopAfter: stopAfter) {
      say(stopText(run, reason, step: trainer.stepsDone))
      return (run, .stopped)
    }
    guard trainer.stepsDone == run.totalSteps else { return (run, .stopped) }
    return (run, .trained(steps: run.totalSteps - point.step))
  }

  private func refuseOversubscription(_ run: TrainingRun) throws {
    let setting = run.configuration.training.parallelism.threadsPerRank
    guard let crowd = run.layout.crowd(setting) else { return }
    throw Agreement(group).common(
      ConfigurationError(
        "parallelism.threadsPerRank",
        "\(setting) makes \(crowd.threads) kernel threads on \(crowd.hostName), whose ranks may use "
          + "\(crowd.processors) processors: start fewer ranks there, or say mpirun --oversubscribe "
          + "where slow steps do not matter"))
  }

  private func announce(_ run: TrainingRun, _ notes: [String]) {
    let parallelism = run.configuration.training.parallelism
    let method = type(of: run.method)
    let lines =
      [
        "cae-dist \(Version.current): \(method.name), \(run.method.parameters.parameterCount) parameters",
        "\(DataPacking.counted(group.worldSize, "rank")), BLAS kernels \(BLAS.coreName), \(transport)",
        "global batch \(parallelism.globalBatchSize) = \(DataPacking.counted(group.worldSize, "rank")) x "
          + "\(run.accumulationSteps) x \(parallelism.microBatchSize); "
          + "\(run.sampler.count) images, \(run.totalSteps) steps",
        run.optimizer.summary,
      ] + run.layout.lines(parallelism.threadsPerRank)
      + [run.optimizer.warning, BLAS.warning, run.kernelWarning].compactMap(\.self) + notes
    say(lines.joined(separator: "\n"))
  }

  private func stopText(_ run: TrainingRun, _ reason: StopReason, step: Int) -> String {
    let why =
      switch reason {
      case .request: "stopped on request"
      case .timeLimit:
        "stopped before its time limit of \(run.configuration.training.run.timeLimit)"
      }
    guard step > 0, let checkpoint = CheckpointFolder(run.output).newest else {
      return
        "\(why) before a step was done, so that nothing is to be saved; run the same command again"
    }
    let command = resume == .auto ? "the same command" : "the same command with --resume auto"
    return "\(why) after step \(step), checkpoint \(checkpoint); \(command) goes on from there"
  }
}
