public import DataParallel
import Foundation
import Interfaces

/// `cae-dist pretrain`: from a configuration to a trained model.
public enum Pretraining {
  /// Collective: every rank calls it with the same arguments. Errors are agreed by all ranks.
  ///
  /// - Parameters:
  ///   - request: Made on any rank, it stops the run, with exit code 75.
  ///   - clock: From the start of the program.
  public static func run(
    _ cluster: Cluster, resume: ResumePolicy, inject: String? = nil, request: StopRequest,
    clock: JobClock, configuration: () throws -> ResolvedConfiguration
  ) throws -> ExitCode {
    let agreement = Agreement(cluster.group)
    let resolved = try agreement.run { try configuration() }
    var job = TrainingJob(cluster.group, cluster.stallGuard, log: say)
    job.injection = try agreement.run { try inject.map(Injection.init) }
    (job.resume, job.request, job.clock) = (resume, request, clock)
    job.transport = cluster.transport
    job.mayOversubscribe = cluster.mayOversubscribe
    let started = ProcessInfo.processInfo.systemUptime
    let (run, outcome) = try job.train(resolved)
    guard case .trained(let steps) = outcome else {
      if outcome == .nothingToDo { job.say(nothingText(run)) }
      return outcome.code
    }
    let seconds = ProcessInfo.processInfo.systemUptime - started
    let newest = CheckpointFolder(run.output).newest ?? run.output
    let samples = steps * run.configuration.training.parallelism.globalBatchSize
    job.say(
      "trained \(steps) steps, \(samples) images, in "
        + "\(ProgressLine.duration(seconds)) (\(Int(Double(samples) / seconds)) images/s) on "
        + "\(DataPacking.counted(cluster.group.worldSize, "rank"))\n"
        + "losses are in \(run.output)/metrics.jsonl, weights in \(newest)\n"
        + "next: cae-dist checkpoint inspect \(newest)")
    return outcome.code
  }

  private static func nothingText(_ run: TrainingRun) -> String {
    "nothing to do: \(run.output) has done all \(run.totalSteps) steps; raise "
      + "schedule.epochs to go on, or name another --output"
  }

  private static func say(_ text: String) {
    FileHandle.standardOutput.write(Data((text + "\n").utf8))
  }
}
