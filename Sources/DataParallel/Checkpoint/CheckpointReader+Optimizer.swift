public import NN
import TensorCore

/// How much of a checkpoint a rank has read.
public struct LoadReport: Sendable {
  /// Bytes from the disk.
  public let bytesRead: Int
  /// Bytes of what it needed.
  public let bytesNeeded: Int
  /// Whether rounding errors of the wire begin anew.
  public let forgetsRoundingErrors: Bool
}

extension CheckpointReader {
  /// Sets what this rank has to set of parameters and moments, and the method's buffers. Every rank
  /// of the run does so, then `DistributedOptimizer.didLoad` is called.
  public func load(
    into optimizer: DistributedOptimizer, _ buffers: [NamedBuffer], rank: Int
  ) throws(CheckpointError) -> LoadReport {
    let (first, second) = optimizer.moments
    let parameters = Request.parameters(optimizer.loadedRange, of: optimizer.parameters)
    try read(
      [parameters] + Request.moments(first: first, second: second), optimizer.tree, buffers)
    var count = parameters.range.count + 2 * first.count
    count += buffers.reduce(0) { $0 + $1.tensor.count }
    var forgets = false
    if let wire = optimizer.wireBuffers {
      if hasSameExchange(optimizer.exchangeIdentity) {
        try readRoundingErrors(ofRank: rank) { table in
          let errors = wire.makeRoundingErrors(table)
          count += errors.reduce(0) { $0 + $1.count }
          return errors
        }
      } else {
        _ = wire.makeRoundingErrors([])
        forgets = true
      }
    }
    return LoadReport(
      bytesRead: bytesRead, bytesNeeded: count * MemoryLayout<Float>.stride,
      forgetsRoundingErrors: forgets)
  }

  /// Sets this rank's share of the parameters, and nothing else: the start of a new run.
  public func loadParameters(
    into optimizer: DistributedOptimizer
  ) throws(CheckpointError) {
    try read(
      [.parameters(optimizer.loadedRange, of: optimizer.parameters)], optimizer.tree, [])
  }
}

extension ParameterFile {
  /// As above.
  public func loadParameters(
    into optimizer: DistributedOptimizer
  ) throws(CheckpointError) {
    guard optimizer.writesParameters else { return }
    try load(optimizer.tree, into: optimizer.parameters)
  }
}
