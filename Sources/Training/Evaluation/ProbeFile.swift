import Artifacts
import Interfaces
import Models
import NN
import TensorCore

/// A head on disk, during its training and after it: parameters, momentum, running statistics, and
/// what it was trained by.
struct ProbeFile {
  let path: String

  private static let kind = "probe-head"

  /// Steps done, of how many, and the best validation result so far.
  struct Progress: Equatable {
    var step = 0
    var totalSteps = 0
    var bestTop1 = 0.0
    var bestEpoch = 0
  }

  func write(
    _ training: ProbeTraining, _ progress: Progress, description: String
  ) throws(ArtifactError) {
    let tree = training.head.parameters
    var tensors: [(String, Tensor)] = [
      ("norm/runningMean", training.head.norm.runningMean),
      ("norm/runningVariance", training.head.norm.runningVariance),
    ]
    for entry in tree.entries {
      let parameter = entry.parameter
      tensors.append(("parameters/\(parameter.name)", training.parameters.tensor(parameter)))
      tensors.append(("momentum/\(parameter.name)", training.optimizer.momentum.tensor(parameter)))
    }
    try ArtifactWriter.write(
      to: path, tensors: tensors,
      attributes: [
        ("kind", .string(ProbeFile.kind)), ("formatVersion", .integer(1)),
        ("description", .string(description)), ("step", .integer(progress.step)),
        ("totalSteps", .integer(progress.totalSteps)), ("bestEpoch", .integer(progress.bestEpoch)),
        ("bestTop1", .string("\(progress.bestTop1)")),
      ])
  }

  /// - Parameter description: That of the head that is wanted; nil: any of that shape.
  /// - Returns: Nil where the file is of another description.
  func read(
    into training: ProbeTraining, description: String?
  ) throws(ArtifactError) -> Progress? {
    let reader = try open()
    if let description, try reader.string("description") != description { return nil }
    let norm = training.head.norm
    try copy(reader, "norm/runningMean", to: norm.runningMean)
    try copy(reader, "norm/runningVariance", to: norm.runningVariance)
    for entry in training.head.parameters.entries {
      let parameter = entry.parameter
      try copy(
        reader, "momentum/\(parameter.name)", to: training.optimizer.momentum.tensor(parameter))
    }
    try read(training.head.parameters, into: training.parameters)
    return Progress(
      step: try reader.integer("step"), totalSteps: try reader.integer("totalSteps"),
      bestTop1: Double(try reader.string("bestTop1")) ?? 0,
      bestEpoch: try reader.integer("bestEpoch"))
  }

  /// The parameters alone.
  func read(_ tree: ParameterTree, into parameters: FlatBuffer) throws(ArtifactError) {
    let reader = try open()
    for entry in tree.entries {
      let parameter = entry.parameter
      try copy(reader, "parameters/\(parameter.name)", to: parameters.tensor(parameter))
    }
  }

  /// That the head tells apart.
  var classes: Int {
    get throws(ArtifactError) { try open().shape("parameters/head.bias")[0] }
  }

  private func open() throws(ArtifactError) -> ArtifactReader {
    let reader = try ArtifactReader(path: path)
    guard try reader.hasAttribute("kind"), try reader.string("kind") == ProbeFile.kind else {
      throw ArtifactError(path: path, reason: "it is not the head of an evaluation")
    }
    return reader
  }

  private func copy(
    _ reader: ArtifactReader, _ name: String, to target: Tensor
  ) throws(ArtifactError) {
    guard try reader.contains(name) else {
      throw ArtifactError(path: path, reason: "it has no \(name); it is of another protocol")
    }
    let tensor = try reader.tensor(name)
    guard tensor.shape == target.shape else {
      throw ArtifactError(
        path: path, reason: "\(name) is \(tensor.shape), this evaluation needs \(target.shape)")
    }
    target.pointer.update(from: tensor.pointer, count: target.count)
  }
}
