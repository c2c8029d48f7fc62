public import Interfaces
public import MPI

/// The ranks of an MPI communicator.
///
/// Sums are in the library's order: the same bits on all ranks and in every repetition of a run,
/// but not across numbers of ranks or layouts of hosts.
public final class MPIProcessGroup: ProcessGroup {
  private let communicator: MPICommunicator

  /// - Parameter communicator: Used for nothing else from here on, as collectives of two users
  ///   would be matched with each other.
  public init(communicator: MPICommunicator) { self.communicator = communicator }

  public var rank: Int { communicator.rank }
  public var worldSize: Int { communicator.size }

  public func barrier() throws(CollectiveError) {
    try collective("barrier") { () throws(MPIError) in try communicator.barrier() }
  }

  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws(CollectiveError) {
    try collective("allReduceSum") { () throws(MPIError) in
      try communicator.allReduce(buffer, .sum)
    }
  }

  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws(CollectiveError) {
    try collective("allReduceSum") { () throws(MPIError) in
      try communicator.allReduce(buffer, .sum)
    }
  }

  public func allReduceMaximum(_ values: [Double]) throws(CollectiveError) -> [Double] {
    // Not MPI_MAX: with a NaN its result depends on the order, and so on the rank.
    var gathered = [Double](repeating: 0, count: values.count * worldSize)
    try collective("allReduceMaximum") { () throws(MPIError) in
      try values.withUnsafeBufferPointer { (values) throws(MPIError) in
        try gathered.withUnsafeMutableBufferPointer { (gathered) throws(MPIError) in
          try communicator.allGather(values, into: gathered)
        }
      }
    }
    return values.indices.map { index in
      (0..<worldSize).reduce(-.infinity) {
        largest($0, gathered[$1 * values.count + index])
      }
    }
  }

  public func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, root: Int
  ) throws(CollectiveError) {
    try collective("broadcast") { () throws(MPIError) in
      try communicator.broadcast(bytes.bindMemory(to: UInt8.self), root: root)
    }
  }

  public func allGather(_ bytes: [UInt8]) throws(CollectiveError) -> [UInt8] {
    var gathered = [UInt8](repeating: 0, count: bytes.count * worldSize)
    try collective("allGather") { () throws(MPIError) in
      try bytes.withUnsafeBufferPointer { (bytes) throws(MPIError) in
        try gathered.withUnsafeMutableBufferPointer { (gathered) throws(MPIError) in
          try communicator.allGather(bytes, into: gathered)
        }
      }
    }
    return gathered
  }
}

/// Runs a call of the MPI module, and says in the words of `Interfaces` what failed.
private func collective<Result>(
  _ operation: String, _ call: () throws(MPIError) -> Result
) throws(CollectiveError) -> Result {
  do {
    return try call()
  } catch {
    throw CollectiveError(operation: operation, reason: error.description)
  }
}
