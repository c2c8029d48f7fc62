/// Why a checkpoint cannot be written or read.
public enum CheckpointError: Error, Sendable, CustomStringConvertible {
  /// No manifest: writing never finished, or it is no checkpoint at all.
  case incomplete(path: String)
  case newerFormat(path: String, version: Int)
  /// Size or checksum of a file is not what the manifest says.
  case damaged(path: String, reason: String)
  /// The checkpoint is of another model.
  case mismatch(path: String, reason: String)
  case io(path: String, reason: String)

  public var description: String {
    switch self {
    case .incomplete(let path):
      "\(path) is not a complete checkpoint (it has no manifest.json); name a folder step-NNNNNNNN "
        + "of a run's output"
    case .newerFormat(let path, let version):
      "\(path) has checkpoint format \(version), newer than this program knows "
        + "(\(CheckpointFormat.version)); use a newer cae-dist"
    case .damaged(let path, let reason):
      "\(path) is damaged (\(reason)); use an older checkpoint"
    case .mismatch(let path, let reason):
      "\(path) does not fit this run: \(reason)"
    case .io(let path, let reason):
      "cannot write checkpoint \(path): \(reason)"
    }
  }
}
