import Files
import HDF5
import NN
import TensorCore

/// Writes a checkpoint that is complete or absent.
public enum CheckpointWriter {
  /// Writes `folder/step-NNNNNNNN`: everything goes to a temporary folder, is synced, and gets its
  /// name by one rename. On any error nothing is left behind.
  ///
  /// Called by one rank.
  ///
  /// - Returns: The path of the checkpoint.
  public static func write(
    _ state: TrainingState, _ header: CheckpointHeader, to folder: String
  ) throws(CheckpointError) -> String {
    let name = CheckpointFormat.folderName(step: header.step)
    let path = "\(folder)/\(name)"
    let temporary = "\(folder)/\(CheckpointFormat.temporaryPrefix)\(name)"
    do {
      if Files.exists(temporary) { try Files.removeTree(temporary) }
      try Files.makeDirectory(temporary)
      try writeData(state, header, to: "\(temporary)/\(CheckpointFormat.file)")
      try Files.synchronize("\(temporary)/\(CheckpointFormat.file)")
      let entry = try entry("\(temporary)/\(CheckpointFormat.file)")
      let manifest = Manifest(step: header.step, entries: [entry])
      try Files.writeAtomically(
        Array(manifest.text.utf8), to: "\(temporary)/\(CheckpointFormat.manifest)")
      // A folder of that name can only be a damaged one that resume has passed over.
      if Files.exists(path) { try Files.removeTree(path) }
      try Files.rename(temporary, to: path)
      try Files.synchronize(folder)
    } catch {
      try? Files.removeTree(temporary)
      throw .io(path: path, reason: "\(error)")
    }
    return path
  }

  private static func writeData(
    _ state: TrainingState, _ header: CheckpointHeader, to path: String
  ) throws(HDF5Error) {
    let file = try HDF5File(path: path, .create)
    let root = file.root
    try root.setAttribute("formatVersion", CheckpointFormat.version)
    try root.setAttribute("step", header.step)
    try root.setAttribute("samplesSeen", header.samplesSeen)
    try root.setAttribute("configuration", header.configuration)
    try root.setAttribute("programVersion", header.programVersion)
    for entry in state.tree.entries {
      let name = entry.parameter.name
      for (group, buffer) in [
        ("parameters", state.parameters), ("moments/first", state.firstMoments),
        ("moments/second", state.secondMoments),
      ] {
        try write(buffer.tensor(entry.parameter), to: "\(group)/\(name)", root)
      }
    }
    for buffer in state.buffers { try write(buffer.tensor, to: "buffers/\(buffer.name)", root) }
    try file.close()
  }

  private static func write(
    _ tensor: Tensor, to path: String, _ root: HDF5Group
  ) throws(HDF5Error) {
    let shape = tensor.shape.dimensions
    let dataset = try root.createDataset(path, of: Float.self, shape: shape)
    try dataset.write(
      from: UnsafeBufferPointer(start: tensor.pointer, count: tensor.count),
      start: shape.map { _ in 0 }, count: shape)
  }

  /// Size and checksum of a file, read back from the file system.
  static func entry(_ path: String) throws(FileError) -> Manifest.Entry {
    let (size, hash) = try Hash64.ofFile(path)
    let name = path.split(separator: "/").last.map(String.init) ?? path
    return Manifest.Entry(name: name, size: size, xxh64: Hash64.hex(hash))
  }
}
