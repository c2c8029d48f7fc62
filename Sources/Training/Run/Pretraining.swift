public import DataParallel
import Foundation
import Interfaces
import Models
import NN
import ShardedData
import TensorCore

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
    let injection = try agreement.run { try inject.map(Injection.init) }
    let run = try TrainingRun(resolved, group: cluster.group, stallGuard: cluster.stallGuard)
    let folder = try agreement.run { try RunFolder(path: run.output, rank: cluster.group.rank) }
    let point = try Resume(run).restore(resume)
    let step = point.step
    try agreement.run { try folder.open(run, step: step) }
    if cluster.group.rank == 0 { announce(run, cluster, point.notes) }
    guard step < run.totalSteps else {
      say(
        cluster,
        "nothing to do: \(run.output) has done all \(run.totalSteps) steps; raise "
          + "schedule.epochs to go on, or name another --output")
      return .success
    }
    let started = ProcessInfo.processInfo.systemUptime
    let trainer = Trainer(
      run, folder: folder, from: point, injection: injection, request: request, clock: clock)
    if case .stopped(let reason) = try trainer.train() {
      say(cluster, stopText(run, reason, step: trainer.stepsDone, resume))
      return .checkpointed
    }
    let seconds = ProcessInfo.processInfo.systemUptime - started
    let newest = CheckpointFolder(run.output).newest ?? run.output
    let samples = (run.totalSteps - step) * run.configuration.training.parallelism.globalBatchSize
    say(
      cluster,
      "trained \(run.totalSteps - step) steps, \(samples) images, in "
        + "\(ProgressLine.duration(seconds)) (\(Int(Double(samples) / seconds)) images/s) on "
        + "\(cluster.group.worldSize) ranks\n"
        + "losses are in \(run.output)/metrics.jsonl, weights in \(newest)\n"
        + "next: cae-dist checkpoint inspect \(newest)")
    return .success
  }

  private static func announce(_ run: TrainingRun, _ cluster: Cluster, _ notes: [String]) {
    let parallelism = run.configuration.training.parallelism
    let method = type(of: run.method)
    let lines =
      [
        "cae-dist \(Version.current): \(method.name), \(run.method.parameters.parameterCount) parameters",
        "\(cluster.group.worldSize) ranks (\(cluster.localSize) on this host) x "
          + "\(run.pool.threadCount) threads, BLAS kernels \(BLAS.coreName), \(cluster.transport)",
        "global batch \(parallelism.globalBatchSize) = \(cluster.group.worldSize) ranks x "
          + "\(run.accumulationSteps) x \(parallelism.microBatchSize); "
          + "\(run.sampler.count) images, \(run.totalSteps) steps",
        run.optimizer.summary,
      ] + [run.optimizer.warning, BLAS.warning].compactMap(\.self) + notes
    say(cluster, lines.joined(separator: "\n"))
  }

  private static func stopText(
    _ run: TrainingRun, _ reason: StopReason, step: Int, _ resume: ResumePolicy
  ) -> String {
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

  private static func say(_ cluster: Cluster, _ text: String) {
    guard cluster.group.rank == 0 else { return }
    FileHandle.standardOutput.write(Data((text + "\n").utf8))
  }
}
