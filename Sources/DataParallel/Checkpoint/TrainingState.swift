public import NN

/// Everything that a resumed run needs. Random numbers are no part of it: they are functions of
/// seed, epoch and sample.
public struct TrainingState {
  public let tree: ParameterTree
  public let parameters: FlatBuffer
  public let firstMoments: FlatBuffer
  public let secondMoments: FlatBuffer
  public let buffers: [NamedBuffer]

  public init(
    tree: ParameterTree, parameters: FlatBuffer, firstMoments: FlatBuffer,
    secondMoments: FlatBuffer, buffers: [NamedBuffer]
  ) {
    self.tree = tree
    self.parameters = parameters
    self.firstMoments = firstMoments
    self.secondMoments = secondMoments
    self.buffers = buffers
  }
}

/// What a checkpoint says about itself.
public struct CheckpointHeader: Sendable, Equatable {
  public let step: Int
  public let samplesSeen: Int
  /// The resolved configuration of the run, YAML.
  public let configuration: String
  public let programVersion: String

  public init(step: Int, samplesSeen: Int, configuration: String, programVersion: String) {
    self.step = step
    self.samplesSeen = samplesSeen
    self.configuration = configuration
    self.programVersion = programVersion
  }
}
