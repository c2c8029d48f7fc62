import Glibc
import Interfaces
import Models
import NN
import Synchronization
import TensorCore
import Training

/// A pretraining method that only these tests know: a linear autoencoder of patches, with a moving
/// average of its encoder over all ranks as a buffer.
///
/// It must train, checkpoint and resume without an edit anywhere in the sources.
final class ProbeMethod: PretrainingMethod {
  static let name = "probe"

  struct Configuration: Codable, Sendable, Equatable {
    var hidden = 6
    var momentum = 0.9
    /// A sample whose loss is not a number; negative: none.
    var poisonedSample = -1
    /// A rank that changes a parameter on its own after its fourth update; negative: none.
    var strayRank = -1
  }

  /// What asks a rank to stop, in which forward pass (the first is 0), by the rank's thread.
  static let requests = Mutex<[pthread_t: (request: StopRequest, pass: Int)]>([:])
  private var passes = 0

  static let defaultConfiguration = Configuration()

  let views: [ViewSpecification]
  let parameters = ParameterTree()
  let buffers: [NamedBuffer]
  private let configuration: Configuration
  private let patchSize: Int
  private let encoder: Parameter
  private let decoder: Linear

  init(_ configuration: Configuration, _ context: MethodContext) throws(ConfigurationError) {
    guard configuration.hidden > 0 else {
      throw ConfigurationError("method.hidden", "must be at least 1")
    }
    self.configuration = configuration
    views = [context.encoderView]
    patchSize = context.model.patchSize
    let values = context.model.patchValues
    encoder = parameters.add(
      "encoder.weight", [configuration.hidden, values],
      .xavierUniform(fanIn: values, fanOut: configuration.hidden))
    decoder = Linear(
      "decoder", inputs: configuration.hidden, outputs: values, in: parameters, .xavier)
    buffers = [
      NamedBuffer(name: "average.weight", tensor: Tensor(repeating: 0, shape: encoder.shape))
    ]
  }

  func losses(for batch: Batch, _ context: ForwardContext) -> MethodOutput {
    ProbeMethod.requests.withLock {
      if let entry = $0[pthread_self()], entry.pass == passes { entry.request.make() }
    }
    passes += 1
    let tape = context.tape
    let patches = StandardizedPatches(patchSize: patchSize, view: views[0]).vectors(
      of: batch.views[0], pool: tape.pool)
    if batch.keys.contains(where: { $0.sample == configuration.poisonedSample }) {
      patches.pointer[0] = .nan
    }
    let code = tape.linear(.constant(patches), weight: encoder)
    let loss = tape.meanSquaredError(decoder(code, tape), target: .constant(patches))
    return MethodOutput(
      terms: [LossTerm(name: "Patches", loss: loss, weight: 1)],
      scalars: [("averageNorm", Double(buffers[0].tensor.values.reduce(0) { $0 + $1 * $1 }))])
  }

  func didUpdateParameters(
    _ parameters: FlatBuffer, at step: StepInfo, in group: any ProcessGroup
  ) throws(CollectiveError) {
    let mean = parameters.tensor(encoder).copy()
    if group.rank == configuration.strayRank, step.step == 3 {
      parameters.pointer(encoder).pointee = parameters.pointer(encoder).pointee.nextUp
    }
    try group.allReduceSum(UnsafeMutableBufferPointer(start: mean.pointer, count: mean.count))
    let (average, momentum) = (buffers[0].tensor, Float(configuration.momentum))
    for index in 0..<mean.count {
      let value = mean.pointer[index] / Float(group.worldSize)
      average.pointer[index] = momentum * average.pointer[index] + (1 - momentum) * value
    }
  }
}
