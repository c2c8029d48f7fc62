import NN
import TensorCore

/// What a checkpoint says about itself.
public struct CheckpointHeader: Sendable, Equatable {
  /// Updates done.
  public let step: Int
  public let samplesSeen: Int
  /// Where in the sampler's endless stream the next step begins.
  public let samplerPosition: Int
  /// The resolved configuration of the run, YAML.
  public let configuration: String
  public let programVersion: String
  /// Names and versions of what computed it.
  public let libraries: String
  /// Losses and gradient norms by which the run judges its next steps.
  public let recentLosses: [Double]
  public let recentNorms: [Double]

  public init(
    step: Int, samplesSeen: Int, samplerPosition: Int, configuration: String,
    programVersion: String, libraries: String, recentLosses: [Double] = [],
    recentNorms: [Double] = []
  ) {
    self.step = step
    self.samplesSeen = samplesSeen
    self.samplerPosition = samplerPosition
    self.configuration = configuration
    self.programVersion = programVersion
    self.libraries = libraries
    self.recentLosses = recentLosses
    self.recentNorms = recentNorms
  }
}

/// Names, shapes and places of everything that a checkpoint holds.
struct StateNames: Equatable, Sendable {
  struct Tensor: Equatable, Sendable {
    let name: String
    let shape: [Int]
    /// Of the first value.
    let place: Int

    var places: Range<Int> { place..<place + shape.reduce(1, *) }
  }

  let parameters: [Tensor]
  let buffers: [Tensor]

  init(parameters: [Tensor], buffers: [Tensor]) {
    self.parameters = parameters
    self.buffers = buffers
  }

  init(_ tree: ParameterTree, _ buffers: [NamedBuffer]) {
    parameters = tree.entries.map {
      Tensor(
        name: $0.parameter.name, shape: $0.parameter.shape.dimensions, place: $0.parameter.offset)
    }
    var (place, tensors) = (0, [Tensor]())
    for buffer in buffers {
      tensors.append(
        Tensor(name: buffer.name, shape: buffer.tensor.shape.dimensions, place: place))
      place += buffer.tensor.count
    }
    self.buffers = tensors
  }

  /// The datasets of the logical file with their kinds.
  var datasets: [(kind: StateKind, group: String, tensors: [Tensor])] {
    [
      (.parameters, "parameters", parameters), (.firstMoments, "moments/first", parameters),
      (.secondMoments, "moments/second", parameters), (.buffers, "buffers", buffers),
    ]
  }
}
