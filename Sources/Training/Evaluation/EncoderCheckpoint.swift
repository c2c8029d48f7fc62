import DataParallel
import Interfaces
public import NN
import TensorCore

/// Weights of a run with the configuration that they were trained by: what evaluations, features and
/// pictures start from.
public struct EncoderCheckpoint {
  private let saved: SavedModel

  /// Checks every byte of a checkpoint.
  ///
  /// - Parameter path: A checkpoint folder, a run, whose newest complete checkpoint is taken, or a
  ///   merged file.
  /// - Throws: `CheckpointError` for what is missing, damaged or something else.
  public init(path: String) throws { saved = try SavedModel(path: path) }

  /// Of the checkpoint folder or merged file.
  public var path: String { saved.state.path }

  /// Updates that the weights have seen.
  public var step: Int { saved.header.step }

  public var configuration: ResolvedConfiguration { saved.configuration }

  /// Fills parameters by their names.
  ///
  /// - Parameter savedName: The name of a parameter in the checkpoint; nil: it is none of its.
  /// - Throws: `ConfigurationError` where one is missing or has another shape.
  public func load(
    _ tree: ParameterTree, into parameters: FlatBuffer,
    savedName: (String) -> String? = { $0 }
  ) throws {
    let state = saved.state
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
}

/// A checkpoint that the first rank has opened and checked, and what all ranks know of it.
struct AgreedCheckpoint {
  /// On the first rank.
  let checkpoint: EncoderCheckpoint?
  let path: String
  let step: Int
  let configuration: ResolvedConfiguration

  /// Collective. Blocking.
  ///
  /// - Parameter path: A run, a checkpoint, or a merged file.
  /// - Throws: `AgreedFailure`.
  init(_ path: String, _ agreement: Agreement) throws {
    let group = agreement.group
    let checkpoint = try agreement.run {
      group.rank == 0 ? try EncoderCheckpoint(path: path) : nil
    }
    let yaml = try agreement.run { try checkpoint?.configuration.yaml }
    let text = try agreement.sentence(yaml) ?? ""
    let found = try agreement.sentence(checkpoint?.path) ?? path
    self.checkpoint = checkpoint
    self.path = found
    step = Int(try group.allReduceMaximum([Double(checkpoint?.step ?? 0)])[0])
    configuration = try agreement.run { try ConfigurationFile.describe(text, name: found) }
  }
}
