import Interfaces
import MPI

@testable import DataParallel

/// Ranks of one machine that count as ranks of several hosts: only those of one number share
/// memory, the others exchange messages.
final class DividedGroup: ProcessGroup {
  let hosts: [Int]
  private let world: MPIProcessGroup
  private let host: MPIProcessGroup

  /// Collective over the communicator.
  ///
  /// - Parameter hosts: A number for each rank.
  init(_ communicator: MPICommunicator, hosts: [Int]) throws {
    self.hosts = hosts
    world = try MPIProcessGroup(communicator: communicator.duplicate())
    guard let part = try communicator.split(color: hosts[communicator.rank]) else {
      throw CollectiveError(operation: "dividing the ranks", reason: "there is no part")
    }
    host = try MPIProcessGroup(communicator: part)
  }

  /// Collective.
  func close() throws {
    try host.close()
    try world.close()
  }

  var rank: Int { world.rank }
  var worldSize: Int { world.worldSize }

  func barrier() throws(CollectiveError) { try world.barrier() }

  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws(CollectiveError) {
    try world.allReduceSum(buffer)
  }

  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws(CollectiveError) {
    try world.allReduceSum(buffer)
  }

  func allReduceMaximum(_ values: [Double]) throws(CollectiveError) -> [Double] {
    try world.allReduceMaximum(values)
  }

  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws(CollectiveError) {
    try world.broadcast(bytes, root: root)
  }

  func allGather(_ bytes: [UInt8]) throws(CollectiveError) -> [UInt8] {
    try world.allGather(bytes)
  }

  func shareMemory(byteCount: Int, purpose: String) throws(CollectiveError) -> SharedMemory {
    try host.shareMemory(byteCount: byteCount, purpose: purpose)
  }

  func startSend(
    _ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int
  ) throws(CollectiveError) -> any Transfer {
    try world.startSend(bytes, to: rank, tag: tag)
  }

  func startReceive(
    _ bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int
  ) throws(CollectiveError) -> any Transfer {
    try world.startReceive(bytes, from: rank, tag: tag)
  }

  func notifyAll() { world.notifyAll() }
  var isNotified: Bool { world.isNotified }
}
