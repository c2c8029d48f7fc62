public import Files
import Glibc

/// The checkpoints in a run's output folder.
public struct CheckpointFolder: Sendable {
  public let path: String

  public init(_ path: String) {
    self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
  }

  /// Steps of the checkpoint folders, newest first; complete or not.
  public var steps: [Int] {
    ((try? Files.list(path)) ?? []).compactMap(CheckpointFormat.step(ofFolder:))
      .sorted(by: >)
  }

  public func path(step: Int) -> String { "\(path)/\(CheckpointFormat.folderName(step: step))" }

  /// The path of the newest folder.
  public var newest: String? { steps.first.map(path(step:)) }

  /// Names of the folders of interrupted writing and pruning, or of one that is under way.
  public var leftovers: [String] {
    ((try? Files.list(path, includingHidden: true)) ?? []).filter {
      $0.hasPrefix(CheckpointFormat.writingPrefix) || $0.hasPrefix(CheckpointFormat.removingPrefix)
    }
  }

  /// Removes what interrupted writing and pruning have left.
  public func removeLeftovers() {
    for name in leftovers { try? Files.removeTree("\(path)/\(name)") }
  }

  /// Removes a checkpoint. Interrupted, it leaves no half of it under its name.
  public func remove(_ checkpoint: String, reach: (CheckpointPhase) -> Void = { _ in })
    throws(FileError)
  {
    let name = checkpoint.split(separator: "/").last.map(String.init) ?? checkpoint
    let hidden = "\(path)/\(CheckpointFormat.removingPrefix)\(name)"
    if Files.exists(hidden) { try Files.removeTree(hidden) }
    try Files.rename(checkpoint, to: hidden)
    if let first = try Files.list(hidden).first { try Files.remove("\(hidden)/\(first)") }
    reach(.prune)
    try Files.removeTree(hidden)
  }

  /// Steps to remove so that the newest `keepLast` and each multiple of `keepEvery` stay.
  ///
  /// - Parameters:
  ///   - steps: Of all checkpoints, newest first.
  ///   - damaged: Of those that are of no use: none of them stays.
  public static func superfluous(
    _ steps: [Int], keepLast: Int, keepEvery: Int, damaged: Set<Int> = []
  ) -> [Int] {
    let good = steps.filter { !damaged.contains($0) }
    let old = good.dropFirst(max(keepLast, 1)).filter { keepEvery <= 0 || $0 % keepEvery != 0 }
    return steps.filter { damaged.contains($0) || old.contains($0) }
  }
}
