import DataParallel
import Files
import Interfaces
import Models
import NN

/// The output folder of a run: its lock, metrics and checkpoints. Only rank 0 touches the disk.
public final class RunFolder {
  public let path: String
  private let lock: FileLock?
  private var metrics: MetricsFile?

  /// Makes and locks the folder on rank 0.
  ///
  /// - Throws: Where another run holds it, or it cannot be written.
  public init(path: String, rank: Int) throws {
    self.path = path
    guard rank == 0 else {
      lock = nil
      return
    }
    try Files.makeDirectory(path)
    lock = try FileLock(path: "\(path)/run.lock")
    CheckpointReader.removeLeftovers(in: path)
  }

  /// Writes the configuration and opens the metrics, cut after `step`.
  func open(_ run: TrainingRun, step: Int) throws {
    guard lock != nil else { return }
    try Files.writeAtomically(
      Array(try run.configuration.yaml.utf8), to: "\(path)/configuration.yaml")
    metrics = try MetricsFile(path: "\(path)/metrics.jsonl", keepingThrough: step)
  }

  func append(_ record: StepRecord) throws(FileError) { try metrics?.append(record) }

  /// - Parameter moments: Of all parameters; on rank 0.
  func saveCheckpoint(
    _ run: TrainingRun, _ moments: (first: FlatBuffer, second: FlatBuffer)?, step: Int
  ) throws -> String {
    guard lock != nil, let moments else { return "" }
    let training = run.configuration.training
    let header = CheckpointHeader(
      step: step, samplesSeen: step * training.parallelism.globalBatchSize,
      configuration: try run.configuration.yaml, programVersion: Version.current)
    let state = TrainingState(
      tree: run.method.parameters, parameters: run.optimizer.parameters,
      firstMoments: moments.first, secondMoments: moments.second, buffers: run.method.buffers)
    let saved = try CheckpointWriter.write(state, header, to: path)
    CheckpointReader.prune(keepLast: training.checkpoint.keepLast, in: path)
    return saved
  }
}
