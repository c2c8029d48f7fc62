/// Why a checkpoint cannot be written or read.
public enum CheckpointError: Error, Sendable, CustomStringConvertible {
  /// No manifest: writing never finished, or it is no checkpoint at all.
  case incomplete(path: String)
  case newerFormat(path: String, version: Int)
  /// Written by a program before this format.
  case olderFormat(path: String, version: Int)
  /// Size or checksum of a file is not what the manifest says, or it cannot be read.
  case damaged(path: String, reason: String)
  /// The checkpoint is of another model.
  case mismatch(path: String, reason: String)
  /// Neither a checkpoint folder nor a merged file.
  case unknown(path: String)
  case io(path: String, reason: String)

  /// Whether another checkpoint may do.
  public var isDamage: Bool {
    switch self {
    case .incomplete, .damaged: true
    case .newerFormat, .olderFormat, .mismatch, .unknown, .io: false
    }
  }

  /// What is wrong, in a few words, for those who say themselves with which checkpoint.
  public var reason: String {
    switch self {
    case .incomplete: "it has no \(CheckpointFormat.manifest)"
    case .newerFormat(_, let version): "format \(version), newer than \(CheckpointFormat.version)"
    case .olderFormat(_, let version): "format \(version), older than \(CheckpointFormat.version)"
    case .unknown: "it is no checkpoint"
    case .damaged(_, let reason), .mismatch(_, let reason), .io(_, let reason): reason
    }
  }

  public var description: String {
    switch self {
    case .incomplete(let path):
      "\(path) is not a complete checkpoint (it has no manifest.json); name a folder step-NNNNNNNN "
        + "of a run's output"
    case .newerFormat(let path, let version):
      "\(path) has checkpoint format \(version), newer than this program knows "
        + "(\(CheckpointFormat.version)); use a newer cae-dist"
    case .olderFormat(let path, let version):
      "\(path) has checkpoint format \(version), from before this program's "
        + "(\(CheckpointFormat.version)); resume it with the cae-dist that wrote it, or begin anew "
        + "from its weights: run.initializeFrom=\(path)/\(CheckpointFormat.file)"
    case .damaged(let path, let reason):
      "\(path) is damaged (\(reason)); use an older checkpoint"
    case .mismatch(let path, let reason):
      "\(path) does not fit this run: \(reason)"
    case .unknown(let path):
      "\(path) is neither a checkpoint, a folder step-NNNNNNNN of a run's "
        + "output, nor a file that cae-dist checkpoint merge has written"
    case .io(let path, let reason):
      "cannot write checkpoint \(path): \(reason)"
    }
  }
}
