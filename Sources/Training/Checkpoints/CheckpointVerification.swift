import DataParallel
import Files

/// What reading every byte of some checkpoints has found: `cae-dist checkpoint verify`.
public struct CheckpointVerification: Encodable, Sendable {
  public struct Finding: Encodable, Sendable {
    public let path: String
    public let sizeBytes: Int
    public let isIntact: Bool
    /// What is wrong, and with which file.
    public let reason: String?
    /// Whether it may be intact for another version of the program.
    private let isForeign: Bool

    enum CodingKeys: CodingKey { case path, sizeBytes, isIntact, reason }

    /// Reads the checkpoint.
    init(path: String) {
      var failure: CheckpointError?
      do throws(CheckpointError) {
        try CheckpointReader(path: path).verify()
      } catch {
        failure = error
      }
      self.path = path
      sizeBytes = StoredFiles.size(of: path)
      isIntact = failure == nil
      reason = failure?.reason
      isForeign = failure.map { !$0.isDamage } ?? false
    }

    /// With a null where there is no reason.
    public func encode(to encoder: any Encoder) throws {
      var fields = encoder.container(keyedBy: CodingKeys.self)
      try fields.encode(path, forKey: .path)
      try fields.encode(sizeBytes, forKey: .sizeBytes)
      try fields.encode(isIntact, forKey: .isIntact)
      try fields.encode(reason, forKey: .reason)
    }

    public var line: String {
      guard let reason else { return "ok \(path), \(StoredFiles.text(bytes: sizeBytes))" }
      return "\(isForeign ? "unreadable" : "damaged") \(path): \(reason)"
    }
  }

  public let isClean: Bool
  public let checkpoints: [Finding]

  /// Reads all checkpoints.
  ///
  /// - Parameters:
  ///   - paths: Checkpoint folders, or runs with all of theirs.
  ///   - found: Called after each checkpoint.
  public init(paths: [String], found: (Finding) -> Void) throws {
    // All of them first: a name that is none is told before an hour of reading.
    let folders = try paths.flatMap(CheckpointVerification.checkpoints(in:))
    checkpoints = folders.map { path in
      let finding = Finding(path: path)
      found(finding)
      return finding
    }
    isClean = checkpoints.allSatisfy(\.isIntact)
  }

  private static func checkpoints(in path: String) throws -> [String] {
    guard Files.exists(path) else {
      throw TrainingError.input(
        path: path, reason: "there is no such folder; name a checkpoint, or the output of a run")
    }
    guard Files.isDirectory(path) else {
      throw TrainingError.input(
        path: path, reason: "that is a file, which has no checksums; name a checkpoint folder")
    }
    let folder = CheckpointFolder(path)
    let steps = folder.steps
    guard steps.isEmpty else { return steps.map(folder.path(step:)) }
    // A folder of a checkpoint's name is one, whatever is left in it.
    let name = path.split(separator: "/").last.map(String.init) ?? path
    guard CheckpointListing.isCheckpoint(path) || CheckpointFormat.step(ofFolder: name) != nil
    else {
      throw TrainingError.input(path: path, reason: "there is no checkpoint in it")
    }
    return [path]
  }
}
