import DataParallel
import Files

/// One file of a checkpoint: `cae-dist checkpoint merge`.
public enum CheckpointMerging {
  /// Checks a checkpoint and writes it to one HDF5 file, which gets its name when it is complete.
  ///
  /// - Parameter output: Must not exist yet; folders above it are made.
  /// - Returns: A sentence that says what was written.
  public static func merge(_ path: String, to output: String) throws -> String {
    try OutputFile.requireNew(output)
    guard Files.isDirectory(path) || !Files.exists(path) else {
      throw TrainingError.input(path: path, reason: "that is a file; name a checkpoint folder")
    }
    let state = try SavedState(path: try CheckpointListing.checkpoint(at: path))
    try OutputFile.write(output) { try state.merge(to: $0) }
    var count = 0
    for group in SavedState.groups { count += try state.names(in: group).count }
    return "\(output): step \(try state.header.step), \(count) tensors, "
      + StoredFiles.text(bytes: try Files.size(of: output))
  }
}
