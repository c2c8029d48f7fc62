import HDF5
import NN
import TensorCore

/// The weights in one HDF5 file, as `cae-dist checkpoint merge` writes it: `/parameters/NAME`.
public struct ParameterFile {
  static let partAttribute = "part"

  public let path: String
  /// The module whose parameters the file has alone, such as `encoder`; nil: it has all.
  public let part: String?
  private let file: HDF5File

  public init(path: String) throws(CheckpointError) {
    self.path = path
    do {
      file = try HDF5File(path: path, .readOnly)
      let hasPart = try file.root.hasAttribute(ParameterFile.partAttribute)
      part = hasPart ? try file.root.stringAttribute(ParameterFile.partAttribute) : nil
    } catch {
      throw .damaged(path: path, reason: error.description)
    }
  }

  /// Fills all parameters, or those of the file's part. Every one of the model's must be there with
  /// its shape, and no more.
  func load(_ tree: ParameterTree, into parameters: FlatBuffer) throws(CheckpointError) {
    do {
      // The logical file of a checkpoint would be read without checksums, and missing parts as NaN.
      guard try !file.root.exists("layout") else { throw CheckpointError.unknown(path: path) }
      let group = try file.root.group("parameters")
      let known = Set(tree.entries.map(\.parameter.name))
      if let extra = try group.memberNames().first(where: { !known.contains($0) }) {
        throw CheckpointError.mismatch(path: path, reason: "the model has no parameter \(extra)")
      }
      for entry in tree.entries
      where part.map({ entry.parameter.name.hasPrefix("\($0).") }) ?? true {
        let (name, shape) = (entry.parameter.name, entry.parameter.shape.dimensions)
        guard try group.exists(name) else {
          throw CheckpointError.mismatch(path: path, reason: "it has no \(name)")
        }
        let dataset = try group.dataset(name)
        guard dataset.shape == shape else {
          throw CheckpointError.mismatch(
            path: path, reason: "\(name) is \(dataset.shape), the model needs \(shape)")
        }
        try dataset.read(
          into: UnsafeMutableBufferPointer(
            start: parameters.pointer(entry.parameter), count: entry.parameter.count),
          start: shape.map { _ in 0 }, count: shape)
      }
    } catch let error as CheckpointError {
      throw error
    } catch {
      throw .damaged(path: path, reason: "\(error)")
    }
  }
}
