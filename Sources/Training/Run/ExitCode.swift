import Artifacts
public import DataParallel
import Files
import Interfaces
import NN
import ShardedData

/// How the program ends; the numbers are part of its interface.
public enum ExitCode: Int32, Sendable {
  case success = 0
  /// A check said no.
  case failed = 1
  case usage = 64
  /// Bad data or configuration.
  case badInput = 65
  /// Not available in this build.
  case unavailable = 69
  case internalError = 70
  /// Input or output failed.
  case inputOutput = 74
  /// Stopped early with everything saved: run me again.
  case checkpointed = 75
  /// A rank was lost or stalled.
  case rankLost = 76

  /// What an error means for the exit code.
  public init(for error: any Error) {
    switch error {
    case is ConfigurationError: self = .badInput
    case let error as TrainingError: self = error.exitCode
    case let error as CheckpointError:
      if case .io = error { self = .inputOutput } else { self = .badInput }
    case let error as FileError: self = error.isMissing ? .badInput : .inputOutput
    case let error as FileLockError:
      if case .alreadyHeld = error { self = .badInput } else { self = .inputOutput }
    case let error as ShardError: self = error.isInputOutput ? .inputOutput : .badInput
    case is ArtifactError: self = .badInput
    case is CollectiveError: self = .rankLost
    case is CorruptedParameters: self = .internalError
    default: self = .internalError
    }
  }
}

/// What stops a run beside bad input.
public enum TrainingError: Error, Sendable, CustomStringConvertible {
  case nonFinite(quantity: String, step: Int, rank: Int?)
  case diverged(DivergenceError)
  case input(path: String, reason: String)

  var exitCode: ExitCode {
    switch self {
    case .nonFinite: .failed
    case .diverged: .internalError
    case .input: .badInput
    }
  }

  public var description: String {
    switch self {
    case .nonFinite(let quantity, let step, let rank):
      "the \(quantity) of step \(step) is not a finite number"
        + (rank.map { " on rank \($0)" } ?? "")
        + "; resume from the last checkpoint with a lower optimizer.learningRate"
    case .diverged(let error): error.description
    case .input(let path, let reason): "\(path): \(reason)"
    }
  }
}
