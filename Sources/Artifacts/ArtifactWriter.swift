import Files
import HDF5
public import TensorCore

/// Writes named tensors and attributes to an HDF5 file that is complete or absent.
public enum ArtifactWriter {
  /// The root attributes of an artifact.
  public enum Attribute: Sendable {
    case integer(Int)
    case string(String)
    case floats([Float])
  }

  /// Writes everything under a temporary name, syncs it and renames it to `path`.
  public static func write(
    to path: String, tensors: [(name: String, tensor: Tensor)],
    attributes: [(name: String, value: Attribute)]
  ) throws(ArtifactError) {
    let partial = path + ".partial"
    try ArtifactReader.wrap(path) { () throws(HDF5Error) in
      let file = try HDF5File(path: partial, .create)
      for (name, value) in attributes {
        switch value {
        case .integer(let value): try file.root.setAttribute(name, value)
        case .string(let value): try file.root.setAttribute(name, value)
        case .floats(let value): try file.root.setAttribute(name, value)
        }
      }
      for (name, tensor) in tensors {
        try file.root.write(
          tensor.values, to: name, shape: tensor.shape.dimensions)
      }
      try file.close()
    }
    do {
      try Files.synchronize(partial)
      try Files.rename(partial, to: path)
    } catch {
      throw ArtifactError(path: path, reason: error.description)
    }
  }
}
