public import Artifacts
import Glibc
public import Interfaces
import Models
import NN
public import TensorCore

/// The worst difference of one kind that a verification saw.
public struct WorstError: Sendable {
  public var value = 0.0
  /// The tensor or step that it was seen in.
  public var name = "-"

  mutating func see(_ error: Double, _ name: String) {
    // `not <=` also catches an error that is not a number; it is the worst of all, and stays.
    if !value.isNaN, !(error <= value) { (value, self.name) = (error, name) }
  }
}

/// What `cae-dist verify` found for one file.
public struct VerificationReport: Sendable {
  public let path: String
  public var loss = WorstError()
  public var output = WorstError()
  public var gradient = WorstError()
  public var trajectory = WorstError()

  /// Relative for losses; for outputs relative to their largest value; for gradients relative to
  /// the norm of the tensor.
  public static let limits = (loss: 1e-5, output: 1e-4, gradient: 1e-4, trajectory: 1e-4)

  public var passed: Bool {
    loss.value <= VerificationReport.limits.loss && output.value <= VerificationReport.limits.output
      && gradient.value <= VerificationReport.limits.gradient
      && trajectory.value <= VerificationReport.limits.trajectory
  }
}

/// Why a reference file could not be run.
public enum VerificationError: Error, Sendable, CustomStringConvertible {
  case file(ArtifactError)
  case configuration(path: String, ConfigurationError)
  /// A reference of a method that this build does not have.
  case notBuilt(path: String, method: String)

  public var description: String {
    switch self {
    case .file(let error): error.description
    case .configuration(let path, let error): "\(path): \(error)"
    case .notBuilt(let path, let method): "\(path): \(method) is not built yet"
    }
  }
}

/// Runs a reference file through the model code of the trainer: losses, outputs, latents, every
/// gradient, and a trajectory of AdamW with clipping.
public final class Verification {
  private let reference: ReferenceFile
  private let model: ReferenceModel
  private let parameters: FlatBuffer
  private let gradients: FlatBuffer
  private let pool: ThreadPool

  private init(_ reference: ReferenceFile, pool: ThreadPool) throws(VerificationError) {
    self.reference = reference
    self.pool = pool
    model = ReferenceModel(reference)
    let tree = model.parameters
    let heap = HeapAllocator()
    parameters = FlatBuffer(for: tree, allocator: heap, purpose: "parameters")
    gradients = FlatBuffer(for: tree, allocator: heap, purpose: "gradients")
    do { try reference.loadWeights(tree, into: parameters) } catch { throw .file(error) }
  }

  /// - Throws: Where the file is damaged, describes no possible model, or is for another method.
  public static func run(
    path: String, pool: ThreadPool
  ) throws(VerificationError) -> VerificationReport {
    let reference = try ReferenceFile(path: path)
    let verification = try Verification(reference, pool: pool)
    do {
      return try verification.compare()
    } catch {
      throw .file(error)
    }
  }

  private func compare() throws(ArtifactError) -> VerificationReport {
    var report = VerificationReport(path: reference.path)
    try compareForward(&report)
    try compareGradients(&report)
    try compareTrajectory(&report)
    return report
  }

  /// Forward and backward on the reference's batch.
  ///
  /// - Parameter inspect: Sees the outputs before backward overwrites the logits.
  @discardableResult
  private func step(_ inspect: (ReferenceModel.Outcome) throws(ArtifactError) -> Void = { _ in })
    throws(ArtifactError) -> Double
  {
    let tape = Tape(parameters: parameters, pool: pool)
    let context = ForwardContext(
      tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    let outcome = model.forward(reference.images, reference.mask, context)
    try inspect(outcome)
    let sink = FlatGradientSink(gradients, for: model.parameters)
    sink.beginStep()
    tape.backward(
      from: outcome.terms.map { ($0.loss.variable, Float($0.weight)) }, into: sink)
    sink.endStep()
    return outcome.total
  }

  private func compareForward(_ report: inout VerificationReport) throws(ArtifactError) {
    var forward = (loss: WorstError(), output: WorstError())
    let reference = self.reference
    try step { (outcome) throws(ArtifactError) in
      for (name, value) in outcome.losses {
        let expected = Double(try reference.tensor("expected/\(name)").values[0])
        forward.loss.see(relative(value, expected), name)
      }
      for (name, tensor) in outcome.outputs {
        let expected = try reference.tensor("expected/\(name)", count: tensor.count)
        forward.output.see(largestDifference(tensor, expected), name)
      }
    }
    (report.loss, report.output) = forward
  }

  private func compareGradients(_ report: inout VerificationReport) throws(ArtifactError) {
    for entry in model.parameters.entries where !entry.parameter.name.hasSuffix("norm1_k.bias") {
      let name = entry.parameter.name
      let expected = try reference.tensor(
        "expected/gradients/\(name)", count: entry.parameter.count)
      report.gradient.see(differenceOfNorms(gradients.tensor(entry.parameter), expected), name)
    }
  }

  private func compareTrajectory(_ report: inout VerificationReport) throws(ArtifactError) {
    let trajectory = try reference.trajectory()
    let optimizer = AdamW(trajectory.optimizer, for: model.parameters, allocator: HeapAllocator())
    for index in 0..<trajectory.losses.count {
      let loss = try step()
      let norm = try update(optimizer, trajectory.optimizer.learningRate, step: index + 1)
      report.trajectory.see(
        relative(loss, Double(trajectory.losses[index])), "loss of step \(index)")
      report.trajectory.see(
        relative(norm, Double(trajectory.gradientNorms[index])), "gradient norm of step \(index)")
    }
  }
}

extension Verification {
  private func update(
    _ optimizer: AdamW, _ learningRate: Double, step: Int
  ) throws(ArtifactError) -> Double {
    do throws(CorruptedParameters) {
      return try optimizer.update(
        parameters, gradients: gradients, gradientCount: 1, learningRate: learningRate,
        step: step, pool: pool)
    } catch {
      throw ArtifactError(path: reference.path, reason: error.description)
    }
  }
}

private func relative(_ value: Double, _ expected: Double) -> Double {
  abs(value - expected) / max(abs(expected), .leastNormalMagnitude)
}

/// `max |a - b| / max |b|`.
private func largestDifference(_ tensor: Tensor, _ expected: Tensor) -> Double {
  var (difference, largest) = (0.0, 0.0)
  for index in 0..<tensor.count {
    let error = abs(Double(tensor.pointer[index]) - Double(expected.pointer[index]))
    guard !error.isNaN else { return error }
    difference = max(difference, error)
    largest = max(largest, abs(Double(expected.pointer[index])))
  }
  return difference / max(largest, .leastNormalMagnitude)
}

/// `||a - b|| / ||b||`.
private func differenceOfNorms(_ tensor: Tensor, _ expected: Tensor) -> Double {
  var (difference, norm) = (0.0, 0.0)
  for index in 0..<tensor.count {
    let error = Double(tensor.pointer[index]) - Double(expected.pointer[index])
    difference += error * error
    norm += Double(expected.pointer[index]) * Double(expected.pointer[index])
  }
  return (difference / max(norm, .leastNormalMagnitude)).squareRoot()
}
