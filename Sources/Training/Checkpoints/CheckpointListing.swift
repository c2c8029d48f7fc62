import DataParallel
import Files

/// The checkpoints of a run with their sizes, ages and what a look at them says, newest first:
/// `cae-dist checkpoint list`.
///
/// Manifests, logical files and sizes are looked at; the data is not read.
public struct CheckpointListing: Encodable, Sendable {
  public struct Entry: Encodable, Sendable {
    public let step: Int
    public let path: String
    public let sizeBytes: Int
    public let ageSeconds: Double
    public let isComplete: Bool
    /// Why it is not complete.
    public let reason: String?
    /// Whether removing it loses nothing: not where another version of the program can read it.
    let isDamaged: Bool

    enum CodingKeys: String, CodingKey {
      case step, path, sizeBytes, ageSeconds, isComplete, reason
    }

    /// With a null where there is no reason.
    public func encode(to encoder: any Encoder) throws {
      var fields = encoder.container(keyedBy: CodingKeys.self)
      try fields.encode(step, forKey: .step)
      try fields.encode(path, forKey: .path)
      try fields.encode(sizeBytes, forKey: .sizeBytes)
      try fields.encode(ageSeconds, forKey: .ageSeconds)
      try fields.encode(isComplete, forKey: .isComplete)
      try fields.encode(reason, forKey: .reason)
    }
  }

  /// A folder that is being written or removed, or was when its run was killed.
  public struct Leftover: Encodable, Sendable {
    public let path: String
    public let sizeBytes: Int
    public let ageSeconds: Double
  }

  public let checkpoints: [Entry]
  public let leftovers: [Leftover]
  private let run: String

  enum CodingKeys: CodingKey { case checkpoints, leftovers }

  /// - Parameter run: The output folder of a run.
  public init(run: String) throws {
    try CheckpointListing.requireRun(run)
    let folder = CheckpointFolder(run)
    self.run = folder.path
    // A run that goes on may remove one meanwhile.
    checkpoints = folder.steps.map { CheckpointListing.entry(folder.path(step: $0), step: $0) }
      .filter { Files.exists($0.path) }
    leftovers = folder.leftovers.map { name in
      let path = "\(folder.path)/\(name)"
      return Leftover(
        path: path, sizeBytes: StoredFiles.size(of: path), ageSeconds: StoredFiles.age(of: path))
    }
  }

  /// - Throws: Where it is no folder, or a checkpoint itself.
  static func requireRun(_ path: String) throws {
    guard Files.isDirectory(path) else {
      throw TrainingError.input(
        path: path, reason: "there is no such folder; name the output folder of a run")
    }
    guard !isCheckpoint(path) else {
      throw TrainingError.input(
        path: path, reason: "that is a checkpoint; name the run's folder, in which it is")
    }
    _ = try Files.list(path)
  }

  /// What a path stands for: a checkpoint or a merged file itself, a run's output for its newest
  /// complete checkpoint.
  static func checkpoint(at path: String) throws -> String {
    guard Files.exists(path) else {
      throw TrainingError.input(path: path, reason: "there is no such file or folder")
    }
    let isRun = Files.exists("\(path)/configuration.yaml") && !isCheckpoint(path)
    guard Files.isDirectory(path), isRun else { return path }
    guard let newest = try CheckpointListing(run: path).checkpoints.first(where: \.isComplete)
    else {
      throw TrainingError.input(path: path, reason: "the run has no complete checkpoint")
    }
    return newest.path
  }

  static func isCheckpoint(_ path: String) -> Bool {
    [CheckpointFormat.manifest, CheckpointFormat.file].contains { Files.exists("\(path)/\($0)") }
  }

  private static func entry(_ path: String, step: Int) -> Entry {
    var failure: CheckpointError?
    do throws(CheckpointError) {
      let found = try CheckpointReader(path: path).header.step
      if found != step { failure = .damaged(path: path, reason: "it is of step \(found)") }
    } catch {
      failure = error
    }
    let manifest = "\(path)/\(CheckpointFormat.manifest)"
    return Entry(
      step: step, path: path, sizeBytes: StoredFiles.size(of: path),
      ageSeconds: StoredFiles.age(of: Files.exists(manifest) ? manifest : path),
      isComplete: failure == nil, reason: failure?.reason, isDamaged: failure?.isDamage ?? false)
  }

  public var lines: [String] {
    let rows =
      checkpoints.map {
        (
          $0.path, $0.ageSeconds, $0.sizeBytes,
          $0.reason.map { "not complete: \($0)" } ?? "complete"
        )
      }
      + leftovers.map {
        ($0.path, $0.ageSeconds, $0.sizeBytes, "being written, or left by a killed run")
      }
    guard !rows.isEmpty else { return ["no checkpoints in \(run)"] }
    let cells = rows.map { path, age, size, state in
      [
        path.split(separator: "/").last.map(String.init) ?? path, StoredFiles.text(age: age),
        StoredFiles.text(bytes: size), state,
      ]
    }
    let widths = (0..<3).map { column in cells.map { $0[column].count }.max() ?? 0 }
    return cells.map { row in
      let aligned = zip(row, widths).map { text, width in
        text + String(repeating: " ", count: width - text.count)
      }
      return (aligned + [row[3]]).joined(separator: "  ")
    }
  }
}
