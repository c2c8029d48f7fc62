import DataParallel
import Models
import TensorCore

/// The weights of a checkpoint, and what its configuration says of the model.
struct SavedModel {
  let state: SavedState
  let header: CheckpointHeader
  let configuration: ResolvedConfiguration

  /// - Parameter path: A checkpoint folder, the output folder of a run (its newest complete
  ///   checkpoint) or a merged file.
  init(path: String) throws {
    state = try SavedState(path: try CheckpointListing.checkpoint(at: path))
    header = try state.header
    configuration = try ConfigurationFile.describe(header.configuration, name: state.path)
  }

  func tensor(_ group: String, _ name: String) throws -> Tensor {
    Tensor(try state.values(group, name), shape: Shape(try state.shape(group, name)))
  }

  /// Every tensor of the groups, by its published name.
  func tensors(_ groups: [String]) throws -> [(name: String, tensor: Tensor)] {
    try groups.flatMap { group in
      try state.names(in: group).map { ($0, try tensor(group, $0)) }
    }
  }
}
