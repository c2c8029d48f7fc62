import DataParallel
import Files

/// What `cae-dist checkpoint prune` removes of a run's checkpoints.
public struct CheckpointPruning: Sendable {
  public enum Rule: Sendable, Equatable {
    /// All complete ones stay.
    case none
    /// The newest ones stay, at least one, and those of steps that a number divides (0: none).
    case keep(last: Int, every: Int)
    /// Those of later steps go, complete or not: a run can then go on from an earlier one.
    case after(step: Int)
  }

  private struct Removal {
    let path: String
    let reason: String
    let sizeBytes: Int
    let isLeftover: Bool
  }

  private let run: String
  private let isDryRun: Bool
  private let removals: [Removal]
  private let kept: [CheckpointListing.Entry]
  // Held as long as there is something to remove.
  private let lock: FileLock?

  /// Takes the run's lock and decides. Damaged checkpoints and left-overs go under each rule; but
  /// while no complete one stays, damaged ones do.
  ///
  /// - Throws: Where a run holds the folder.
  public init(run: String, rule: Rule, isDryRun: Bool) throws {
    try CheckpointListing.requireRun(run)
    (self.run, self.isDryRun) = (run, isDryRun)
    let lockPath = "\(run)/\(RunFolder.lockName)"
    lock = isDryRun && !Files.exists(lockPath) ? nil : try FileLock(path: lockPath)
    let listing = try CheckpointListing(run: run)
    let reasons = CheckpointPruning.reasons(listing.checkpoints, rule)
    kept = listing.checkpoints.filter { reasons[$0.step] == nil }
    // Left-overs first: a checkpoint that is being removed takes the name of one.
    removals =
      listing.leftovers.map {
        Removal(
          path: $0.path, reason: "left by a killed run", sizeBytes: $0.sizeBytes, isLeftover: true)
      }
      + listing.checkpoints.compactMap { entry in
        reasons[entry.step].map {
          Removal(path: entry.path, reason: $0, sizeBytes: entry.sizeBytes, isLeftover: false)
        }
      }
  }

  /// Why checkpoints go, by step.
  private static func reasons(
    _ checkpoints: [CheckpointListing.Entry], _ rule: Rule
  ) -> [Int: String] {
    var reasons: [Int: String] = [:]
    let complete = checkpoints.filter(\.isComplete).map(\.step)
    switch rule {
    case .none: break
    case .keep(let last, let every):
      for step in CheckpointFolder.superfluous(complete, keepLast: last, keepEvery: every) {
        reasons[step] = "superfluous"
      }
    case .after(let limit):
      for entry in checkpoints where entry.step > limit {
        reasons[entry.step] = "after step \(limit)"
      }
    }
    // What is left of a run without a complete checkpoint may be all that there is.
    guard complete.contains(where: { reasons[$0] == nil }) else { return reasons }
    for entry in checkpoints where entry.isDamaged && reasons[entry.step] == nil {
      reasons[entry.step] = entry.reason
    }
    return reasons
  }

  /// Removes, or only says what it would.
  ///
  /// - Parameter say: Gets a line for each thing that has gone, and a last one.
  public func perform(_ say: (String) -> Void) throws {
    for removal in removals {
      if !isDryRun { try remove(removal) }
      say(
        "\(isDryRun ? "would remove" : "removed") \(removal.path), "
          + "\(StoredFiles.text(bytes: removal.sizeBytes)): \(removal.reason)")
    }
    if !isDryRun, !removals.isEmpty { try Files.synchronize(run) }
    say(isDryRun ? "dry run: \(summary("to remove", "would stay"))" : summary("removed", "kept"))
  }

  private func remove(_ removal: Removal) throws(FileError) {
    if removal.isLeftover {
      try Files.removeTree(removal.path)
    } else {
      try CheckpointFolder(run).remove(removal.path)
    }
  }

  private func summary(_ gone: String, _ stays: String) -> String {
    let bytes = StoredFiles.text(bytes: removals.reduce(0) { $0 + $1.sizeBytes })
    let done = removals.isEmpty ? "nothing to remove" : "\(removals.count) \(gone), \(bytes)"
    let steps = kept.map { "\($0.step)" }.joined(separator: ", ")
    return "\(done); \(stays): " + (kept.isEmpty ? "no checkpoint" : "step \(steps)")
  }
}
