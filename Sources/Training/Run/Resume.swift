import DataParallel
import Files
import Interfaces
import Models
import NN
import TensorCore

/// Where a run starts from.
public enum ResumePolicy: Sendable, Equatable {
  /// The newest good checkpoint in the output folder, else from the beginning.
  case auto
  case never
  case path(String)

  public init(_ text: String) {
    switch text {
    case "auto": self = .auto
    case "never": self = .never
    default: self = .path(text)
    }
  }
}

/// Brings a run to the point where training goes on.
public struct Resume {
  private let run: TrainingRun
  private let agreement: Agreement

  public init(_ run: TrainingRun) {
    self.run = run
    agreement = Agreement(run.group)
  }

  /// Rank 0 reads the checkpoint; the others get the bytes from it, so only rank 0 needs to see
  /// the file system.
  ///
  /// Collective. Blocking.
  ///
  /// - Returns: Updates done so far, and sentences for the log (rank 0).
  public func restore(_ policy: ResumePolicy) throws -> (step: Int, notes: [String]) {
    var notes: [String] = []
    var moments: (first: FlatBuffer, second: FlatBuffer)?
    let local = try agreement.run { () throws -> Int in
      run.group.rank == 0 ? try load(policy, &moments, &notes) : 0
    }
    let found = try run.group.allReduceMaximum([Double(local), moments == nil ? 0 : 1])
    try run.optimizer.distribute(moments: moments, includesMoments: found[1] > 0)
    for buffer in run.method.buffers {
      try broadcast(buffer.tensor.pointer, count: buffer.tensor.count)
    }
    return (Int(found[0]), notes)
  }

  private typealias Moments = (first: FlatBuffer, second: FlatBuffer)

  private func load(
    _ policy: ResumePolicy, _ moments: inout Moments?, _ notes: inout [String]
  ) throws -> Int {
    switch policy {
    case .never:
      if !CheckpointReader.candidates(in: run.output).isEmpty {
        throw ConfigurationError(
          "run.output",
          "\(run.output) holds checkpoints that --resume never would overwrite; remove the folder, "
            + "or name another with --output")
      }
      return try initialize(&notes)
    case .path(let path):
      return try load(try CheckpointReader(path: path), &moments, &notes)
    case .auto:
      for path in CheckpointReader.candidates(in: run.output) {
        do {
          return try load(try CheckpointReader(path: path), &moments, &notes)
        } catch let error as CheckpointError {
          if case .mismatch = error { throw error }
          notes.append("warning: \(error); trying the one before it")
        }
      }
      return try initialize(&notes)
    }
  }

  private func load(
    _ reader: CheckpointReader, _ moments: inout Moments?, _ notes: inout [String]
  ) throws -> Int {
    try run.configuration.requireResumable(from: reader.header.configuration, path: reader.path)
    let (tree, heap) = (run.method.parameters, HeapAllocator())
    let state = TrainingState(
      tree: tree, parameters: run.optimizer.parameters,
      firstMoments: FlatBuffer(for: tree, allocator: heap, purpose: "first moments"),
      secondMoments: FlatBuffer(for: tree, allocator: heap, purpose: "second moments"),
      buffers: run.method.buffers)
    try reader.load(into: state)
    moments = (state.firstMoments, state.secondMoments)
    notes.append("resuming \(reader.path): \(reader.header.step) steps done")
    return reader.header.step
  }

  private func initialize(_ notes: inout [String]) throws -> Int {
    let source = run.configuration.training.run.initializeFrom
    guard !source.isEmpty else {
      notes.append("starting anew: no checkpoint in \(run.output)")
      return 0
    }
    try CheckpointReader(path: source).loadParameters(
      run.method.parameters, into: run.optimizer.parameters)
    notes.append("starting anew from the weights of \(source)")
    return 0
  }

  private func broadcast(_ pointer: UnsafeMutablePointer<Float>, count: Int) throws {
    try run.group.broadcast(
      UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(start: pointer, count: count)),
      root: 0)
  }
}
