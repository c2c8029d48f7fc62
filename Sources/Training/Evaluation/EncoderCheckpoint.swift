import DataParallel
import Files
import Interfaces
public import NN
import TensorCore

/// Weights of a run with the configuration that they were trained by: what evaluations, features and
/// pictures start from.
public struct EncoderCheckpoint {
  /// Of the checkpoint folder or merged file.
  public let path: String
  /// Updates that the weights have seen.
  public let step: Int
  public let configuration: ResolvedConfiguration
  private let state: SavedState

  /// Checks every byte of a checkpoint.
  ///
  /// - Parameter path: A checkpoint folder, a run, whose newest checkpoint is taken, or a merged
  ///   file.
  /// - Throws: `CheckpointError` for what is missing, damaged or something else.
  public init(path: String) throws {
    let found = try EncoderCheckpoint.checkpoint(of: path)
    self.path = found
    state = try SavedState(path: found)
    let header = try state.header
    step = header.step
    configuration = try ConfigurationFile.resolve(header.configuration, name: found)
  }

  /// The folder that a run's results belong into; the file's own for a merged file.
  public var runFolder: String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// Fills parameters by their names.
  ///
  /// - Parameter savedName: The name of a parameter in the checkpoint; nil: it is none of its.
  /// - Throws: `ConfigurationError` where one is missing or has another shape.
  public func load(
    _ tree: ParameterTree, into parameters: FlatBuffer,
    savedName: (String) -> String? = { $0 }
  ) throws {
    let names = Set(try state.names(in: "parameters"))
    for entry in tree.entries {
      let parameter = entry.parameter
      guard let name = savedName(parameter.name) else { continue }
      guard names.contains(name) else {
        throw ConfigurationError(path, "has no parameter \(name); it is of another model")
      }
      let shape = try state.shape("parameters", name)
      guard shape == parameter.shape.dimensions else {
        throw ConfigurationError(
          path, "\(name) is \(shape), the model needs \(parameter.shape.dimensions)")
      }
      let values = try state.values("parameters", name)
      values.withUnsafeBufferPointer { source in
        guard let base = source.baseAddress else { return }
        parameters.pointer(parameter).update(from: base, count: parameter.count)
      }
    }
  }

  private static func checkpoint(of path: String) throws -> String {
    let folder = CheckpointFolder(path)
    guard Files.isDirectory(path), !Files.exists("\(path)/\(CheckpointFormat.manifest)") else {
      return folder.path
    }
    guard let newest = folder.newest else {
      throw ConfigurationError(
        path, "holds no checkpoint; name a run, a checkpoint, or a file of checkpoint merge")
    }
    return newest
  }
}
