import DataParallel
import Foundation
import Interfaces
import Models
import TensorCore

/// Checkpoints of a run, as all ranks agree on them.
final class CheckpointSaving {
  /// Between looks at ranks that are still writing.
  private static let pauseMicroseconds: UInt32 = 5000

  private let run: TrainingRun
  private let agreement: Agreement
  private let saver: CheckpointSaver
  private let injection: Injection?
  private let note: (String) -> Void
  /// The step of the newest checkpoint that is complete.
  private(set) var savedStep: Int?
  /// Of the save under way, or of the last one.
  private var begun: (step: Int, time: Double)?
  /// Of the longest save, from the copy to the name.
  private(set) var longestSeconds: Double?

  /// - Parameters:
  ///   - resumed: Where the run has begun.
  ///   - note: Shows a sentence, on the first rank.
  init(
    _ run: TrainingRun, _ folder: RunFolder, _ agreement: Agreement, resumed: ResumePoint,
    _ injection: Injection?, note: @escaping (String) -> Void
  ) {
    self.run = run
    self.agreement = agreement
    self.injection = injection
    self.note = note
    savedStep = resumed.isSaved ? resumed.step : nil
    let policy = run.configuration.training.checkpoint
    var options = CheckpointSaver.Options(folder: folder.path)
    options.isAsynchronous = policy.asynchronous
    options.keepLast = policy.keepLast
    options.keepEvery = policy.keepEvery
    options.damaged = resumed.damaged
    options.beforeCommit = folder.synchronization
    options.track = run.timeline.track("checkpoint thread")
    saver = CheckpointSaver(
      options, run.optimizer, buffers: run.method.buffers, group: run.group, pool: run.pool)
  }

  /// Whether this rank is writing.
  var isWriting: Bool { saver.isWriting }

  /// Copies the state and begins to write it; waits for a save that is under way.
  ///
  /// Collective. Blocking.
  ///
  /// - Returns: Seconds that it took, of the slowest rank.
  func begin(step: Int, recent: OutlierGuard) throws -> Double {
    let started = CheckpointSaving.now()
    try finish()
    let global = run.configuration.training.parallelism.globalBatchSize
    let header = CheckpointHeader(
      step: step, samplesSeen: step * global, samplerPosition: step * global,
      configuration: try run.configuration.yaml, programVersion: Version.current,
      libraries: "HDF5 \(CheckpointFormat.libraryVersion), OpenBLAS kernels \(BLAS.coreName)",
      recentLosses: recent.losses, recentNorms: recent.norms)
    if let injection { saver.options.reach = injection.phases(rank: run.group.rank, step: step) }
    // It is written anew.
    saver.options.damaged.remove(step)
    begun = (step, started)
    try saver.begin(header, fault: injection?.writeFault(rank: run.group.rank, step: step))
    return try run.group.allReduceMaximum([CheckpointSaving.now() - started])[0]
  }

  /// Goes on with a save that is under way.
  ///
  /// Collective. Blocking, shortly.
  ///
  /// - Parameter isAnyWriting: Whether some rank is still writing; nil: asks them.
  func advance(isAnyWriting: Bool? = nil) throws {
    guard !saver.isIdle else { return }
    let isBusy = try isAnyWriting ?? askWriting()
    if isBusy { return }
    do {
      try agreement.run { if let failure = saver.failure { throw failure } }
    } catch {
      try abandon()
      throw error
    }
    guard let path = try saver.advance(), let begun else { return }
    savedStep = begun.step
    longestSeconds = max(longestSeconds ?? 0, CheckpointSaving.now() - begun.time)
    note("checkpoint \(path)")
  }

  private func askWriting() throws -> Bool {
    try run.group.allReduceMaximum([saver.isWriting ? 1 : 0])[0] > 0
  }

  /// Waits for a save that is under way.
  ///
  /// Collective. Blocking.
  func finish() throws {
    while !saver.isIdle {
      try advance()
      // Not in a join: the others would wait for this rank, and take it for lost.
      if saver.isWriting { usleep(CheckpointSaving.pauseMicroseconds) }
    }
  }

  /// Leaves nothing of a save that has failed: the disk may be full.
  private func abandon() throws {
    saver.abandon()
    try run.group.barrier()
    if run.group.rank == 0 { CheckpointFolder(run.output).removeLeftovers() }
  }

  private static func now() -> Double { ProcessInfo.processInfo.systemUptime }
}
