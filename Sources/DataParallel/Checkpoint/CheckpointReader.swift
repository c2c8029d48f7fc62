import Files
import HDF5
public import NN
import TensorCore

/// A checkpoint on disk whose files are what its manifest says.
public final class CheckpointReader {
  public let path: String
  public let header: CheckpointHeader
  private let file: HDF5File

  /// Opens a checkpoint folder and checks sizes and checksums.
  public init(path: String) throws(CheckpointError) {
    self.path = path
    try CheckpointReader.check(path)
    do {
      file = try HDF5File(path: "\(path)/\(CheckpointFormat.file)", .readOnly)
      let version = try file.root.integerAttribute("formatVersion")
      guard version <= CheckpointFormat.version else {
        throw CheckpointError.newerFormat(path: path, version: version)
      }
      header = CheckpointHeader(
        step: try file.root.integerAttribute("step"),
        samplesSeen: try file.root.integerAttribute("samplesSeen"),
        configuration: try file.root.stringAttribute("configuration"),
        programVersion: try file.root.stringAttribute("programVersion"))
    } catch let error as CheckpointError {
      throw error
    } catch {
      throw .damaged(path: path, reason: "\(error)")
    }
  }

  /// Checkpoint folders in `folder`, newest first; complete or not.
  public static func candidates(in folder: String) -> [String] {
    let names = (try? Files.list(folder)) ?? []
    return names.compactMap { name in CheckpointFormat.step(ofFolder: name).map { ($0, name) } }
      .sorted { $0.0 > $1.0 }.map { "\(folder)/\($0.1)" }
  }

  /// Removes what an interrupted write left in `folder`.
  public static func removeLeftovers(in folder: String) {
    for name in (try? Files.list(folder, includingHidden: true)) ?? []
    where name.hasPrefix(CheckpointFormat.temporaryPrefix) {
      try? Files.removeTree("\(folder)/\(name)")
    }
  }

  /// Removes all but the newest `count` checkpoints in `folder`.
  public static func prune(keepLast count: Int, in folder: String) {
    for path in candidates(in: folder).dropFirst(max(count, 1)) { try? Files.removeTree(path) }
  }

  /// Fills parameters, moments and buffers. Every one of the model's must be there with its shape,
  /// and no parameter more.
  public func load(into state: TrainingState) throws(CheckpointError) {
    try loadParameters(state.tree, into: state.parameters)
    for entry in state.tree.entries {
      let name = entry.parameter.name
      try read("moments/first/\(name)", into: state.firstMoments.tensor(entry.parameter))
      try read(
        "moments/second/\(name)", into: state.secondMoments.tensor(entry.parameter))
    }
    for buffer in state.buffers { try read("buffers/\(buffer.name)", into: buffer.tensor) }
  }

  /// Fills parameters only: the start of a new run.
  public func loadParameters(
    _ tree: ParameterTree, into parameters: FlatBuffer
  ) throws(CheckpointError) {
    let known = Set(tree.entries.map(\.parameter.name))
    if let extra = try parameterNames().first(where: { !known.contains($0) }) {
      throw .mismatch(path: path, reason: "the model has no parameter \(extra)")
    }
    for entry in tree.entries {
      try read("parameters/\(entry.parameter.name)", into: parameters.tensor(entry.parameter))
    }
  }

  public func parameterNames() throws(CheckpointError) -> [String] {
    try wrapped { file throws(HDF5Error) in try file.root.group("parameters").memberNames() }
  }

  /// Shape of every parameter in name order, and the hash over names and bytes in that order.
  public func parametersSummary() throws(CheckpointError)
    -> (shapes: [(name: String, shape: [Int])], hash: String)
  {
    var hash = Hash64()
    var shapes: [(name: String, shape: [Int])] = []
    for name in try parameterNames() {
      let (values, shape): ([Float], [Int]) = try wrapped { file throws(HDF5Error) in
        let dataset = try file.root.dataset("parameters/\(name)")
        return (try dataset.read(as: Float.self), dataset.shape)
      }
      hash.update(name)
      values.withUnsafeBytes { hash.update($0) }
      shapes.append((name, shape))
    }
    return (shapes, Hash64.hex(hash.finalize()))
  }

  private func read(_ name: String, into tensor: Tensor) throws(CheckpointError) {
    let path = self.path
    let shape: [Int] = try wrapped { file throws(HDF5Error) in
      guard try file.root.exists(name) else { return [-1] }
      return try file.root.dataset(name).shape
    }
    guard shape == tensor.shape.dimensions else {
      throw .mismatch(
        path: path,
        reason: shape == [-1]
          ? "it has no \(name)" : "\(name) is \(shape), the model needs \(tensor.shape)")
    }
    try wrapped { file throws(HDF5Error) in
      try file.root.dataset(name).read(
        into: UnsafeMutableBufferPointer(start: tensor.pointer, count: tensor.count),
        start: shape.map { _ in 0 }, count: shape)
    }
  }

  private func wrapped<Result>(
    _ body: (HDF5File) throws(HDF5Error) -> Result
  ) throws(CheckpointError) -> Result {
    do { return try body(file) } catch {
      throw .damaged(path: path, reason: error.description)
    }
  }

  private static func check(_ path: String) throws(CheckpointError) {
    let manifestPath = "\(path)/\(CheckpointFormat.manifest)"
    guard Files.exists(manifestPath) else { throw .incomplete(path: path) }
    let text = (try? Files.readText(manifestPath)) ?? ""
    if let version = Manifest.version(inText: text), version > CheckpointFormat.version {
      throw .newerFormat(path: path, version: version)
    }
    guard let manifest = Manifest(text: text) else {
      throw .damaged(path: path, reason: "its manifest cannot be read")
    }
    for entry in manifest.entries {
      let found: Manifest.Entry
      do { found = try CheckpointWriter.entry("\(path)/\(entry.name)") } catch {
        throw .damaged(path: path, reason: error.description)
      }
      guard found == entry else {
        throw .damaged(
          path: path,
          reason: found.size == entry.size
            ? "checksum of \(entry.name) differs"
            : "\(entry.name) has \(found.size) bytes instead of \(entry.size)")
      }
    }
  }
}
