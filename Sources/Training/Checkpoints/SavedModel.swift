import DataParallel
import Files
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
    state = try SavedState(path: try SavedModel.checkpoint(path))
    header = try state.header
    configuration = try ConfigurationFile.describe(header.configuration, name: state.path)
  }

  private static func checkpoint(_ path: String) throws -> String {
    guard Files.isDirectory(path), !CheckpointListing.isCheckpoint(path) else { return path }
    guard let newest = try CheckpointListing(run: path).checkpoints.first(where: \.isComplete)
    else {
      throw TrainingError.input(path: path, reason: "the run has no complete checkpoint")
    }
    return newest.path
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
