import Files
import HDF5

/// The tensors of a checkpoint, or of the one file that a checkpoint was merged into, one by one.
public struct SavedState {
  public static let groups = ["parameters", "moments/first", "moments/second", "buffers"]

  public let path: String
  /// Ranks that have written it; nil: it is a merged file.
  public let worldSize: Int?
  private let file: HDF5File

  /// Checks every byte of a checkpoint first. A merged file has no checksums.
  ///
  /// - Parameter path: A checkpoint folder or a merged file.
  public init(path: String) throws(CheckpointError) {
    self.path = path
    var name = path
    if Files.isDirectory(path) {
      let reader = try CheckpointReader(path: path)
      try reader.verify()
      (name, worldSize) = (reader.file, reader.worldSize)
    } else {
      guard HDF5File.isHDF5(path) else { throw .unknown(path: path) }
      worldSize = nil
    }
    do { file = try HDF5File(path: name, .readOnly) } catch {
      throw .damaged(path: path, reason: error.description)
    }
    if worldSize == nil { try requireMerged() }
  }

  /// What looks like a merged file may be another one, or the logical file of a checkpoint, whose
  /// values would be read without their checksums.
  private func requireMerged() throws(CheckpointError) {
    let isMerged = try wrapped { root throws(HDF5Error) in
      guard try root.hasAttribute("samplerPosition") else { return false }
      guard try root.exists(SavedState.groups[0]) else { return false }
      return try !root.exists("layout")
    }
    guard isMerged else { throw .unknown(path: path) }
  }

  /// What it says about itself.
  public var header: CheckpointHeader {
    get throws(CheckpointError) {
      try wrapped { root throws(HDF5Error) in try LogicalFile.header(root) }
    }
  }

  /// Names of the tensors of a group, sorted.
  public func names(in group: String) throws(CheckpointError) -> [String] {
    try wrapped { root throws(HDF5Error) in
      try root.exists(group) ? try root.group(group).memberNames() : []
    }
  }

  public func shape(_ group: String, _ name: String) throws(CheckpointError) -> [Int] {
    try wrapped { root throws(HDF5Error) in try root.dataset("\(group)/\(name)").shape }
  }

  public func values(_ group: String, _ name: String) throws(CheckpointError) -> [Float] {
    try wrapped { root throws(HDF5Error) in try root.dataset("\(group)/\(name)").read() }
  }

  /// Writes everything but rounding errors to one file, tensor by tensor.
  ///
  /// The file has the paths and attributes of a checkpoint's logical file, but the values are in it.
  ///
  /// - Parameter path: Overwritten. Nobody waits for the disk.
  public func merge(to path: String) throws(CheckpointError) {
    do {
      try writeMerged(path)
    } catch let error as CheckpointError {
      throw error
    } catch {
      throw .io(path: path, reason: "\(error)")
    }
  }

  private func writeMerged(_ path: String) throws {
    let groups = try SavedState.groups.map { ($0, try names(in: $0)) }
    try SavedState.write(try header, groups, to: path) {
      (try values($0, $1), try shape($0, $1))
    }
  }

  /// Writes a merged file, tensor by tensor. Groups may be missing: weights have no moments.
  ///
  /// - Parameters:
  ///   - part: The module, such as `encoder`, whose parameters the file has alone; nil: all of them.
  ///   - path: Overwritten. Nobody waits for the disk.
  ///   - tensor: Values and shape of a tensor of a group.
  public static func write(
    _ header: CheckpointHeader, _ groups: [(group: String, names: [String])], part: String? = nil,
    to path: String, tensor: (_ group: String, _ name: String) throws -> ([Float], [Int])
  ) throws {
    let merged = try HDF5File(path: path, .create)
    try LogicalFile.write(header, to: merged.root)
    if let part { try merged.root.setAttribute(ParameterFile.partAttribute, part) }
    for (group, names) in groups {
      try merged.root.createGroup(group)
      for name in names {
        let (values, shape) = try tensor(group, name)
        try merged.root.write(values, to: "\(group)/\(name)", shape: shape)
      }
    }
    try merged.close()
  }

  /// XXH64 over name and bytes of every tensor of some groups, in name order.
  public func hash(of groups: [String]) throws(CheckpointError) -> String {
    var hash = Hash64()
    for group in groups {
      for name in try names(in: group) {
        hash.update(name)
        try values(group, name).withUnsafeBytes { hash.update($0) }
      }
    }
    return Hash64.hex(hash.finalize())
  }

  private func wrapped<Value>(
    _ body: (HDF5Group) throws(HDF5Error) -> Value
  ) throws(CheckpointError) -> Value {
    do { return try body(file.root) } catch {
      throw .damaged(path: path, reason: error.description)
    }
  }
}
