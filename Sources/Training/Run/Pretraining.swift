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
  public static func run(
    _ cluster: Cluster, resume: ResumePolicy, inject: String? = nil,
    configuration: () throws -> ResolvedConfiguration
  ) throws -> ExitCode {
    let agreement = Agreement(cluster.group)
    let resolved = try agreement.run { try configuration() }
    let injection = try agreement.run { try inject.map(Injection.init) }
    let run = try TrainingRun(resolved, group: cluster.group, stallGuard: cluster.stallGuard)
    let folder = try agreement.run { try RunFolder(path: run.output, rank: cluster.group.rank) }
    let (step, notes) = try Resume(run).restore(resume)
    try agreement.run { try folder.open(run, step: step) }
    if cluster.group.rank == 0 { announce(run, cluster, notes) }
    guard step < run.totalSteps else {
      say(
        cluster,
        "nothing to do: \(run.output) has done all \(run.totalSteps) steps; raise "
          + "schedule.epochs to go on, or name another --output")
      return .success
    }
    let started = ProcessInfo.processInfo.systemUptime
    try Trainer(run, folder: folder, step: step, injection: injection).train()
    let seconds = ProcessInfo.processInfo.systemUptime - started
    let samples = (run.totalSteps - step) * run.configuration.training.parallelism.globalBatchSize
    say(
      cluster,
      "trained \(run.totalSteps - step) steps, \(samples) images, in "
        + "\(ProgressLine.duration(seconds)) (\(Int(Double(samples) / seconds)) images/s) on "
        + "\(cluster.group.worldSize) ranks\n"
        + "losses are in \(run.output)/metrics.jsonl, weights in "
        + "\(CheckpointReader.candidates(in: run.output).first ?? run.output)\n"
        + "next: cae-dist checkpoint inspect \(CheckpointReader.candidates(in: run.output).first ?? "")"
    )
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

  private static func say(_ cluster: Cluster, _ text: String) {
    guard cluster.group.rank == 0 else { return }
    FileHandle.standardOutput.write(Data((text + "\n").utf8))
  }
}
