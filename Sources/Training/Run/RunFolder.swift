import DataParallel
import EventFiles
import Files
import Foundation
import Interfaces

/// The output folder of a run: its lock, metrics and checkpoints. Metrics are the first rank's,
/// checkpoints are written by all.
public final class RunFolder {
  static let lockName = "run.lock"
  public let path: String
  let checkpoints: CheckpointFolder
  private let lock: FileLock?
  private var metrics: MetricsFile?
  private var events: EventFile?

  /// Makes and locks the folder on rank 0, and removes what a killed run has left half done.
  ///
  /// - Throws: Where another run holds it, or it cannot be written.
  public init(path: String, rank: Int) throws {
    self.path = path
    checkpoints = CheckpointFolder(path)
    guard rank == 0 else {
      lock = nil
      return
    }
    try Files.makeDirectory(path)
    lock = try FileLock(path: "\(path)/\(RunFolder.lockName)")
    checkpoints.removeLeftovers()
  }

  /// Writes the configuration and opens metrics and TensorBoard's events, cut after `step`.
  func open(_ run: TrainingRun, step: Int) throws {
    guard lock != nil else { return }
    try Files.writeAtomically(
      Array(try run.configuration.yaml.utf8), to: "\(path)/configuration.yaml")
    metrics = try MetricsFile(path: "\(path)/metrics.jsonl", keepingThrough: step)
    guard run.configuration.training.logging.tensorBoard else { return }
    events = try EventFile(
      folder: path, continuingAfter: step, time: Date().timeIntervalSince1970)
  }

  func append(_ record: StepRecord) throws(FileError) {
    try metrics?.append(record)
    try events?.append(
      step: record.step, time: Date().timeIntervalSince1970, scalars: record.scalars)
  }

  /// Brings the metrics to the disk, so that a checkpoint is never without those before it.
  var synchronization: @Sendable () throws -> Void {
    { [metrics, events] in
      try metrics?.synchronize()
      try events?.synchronize()
    }
  }
}
