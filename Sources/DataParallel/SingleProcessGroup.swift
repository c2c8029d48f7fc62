public import Interfaces
import Synchronization

/// One rank on its own, without any library: what a run on one process uses.
public final class SingleProcessGroup: ProcessGroup {
  private let notice = Atomic<Bool>(false)

  public init() {}

  public var rank: Int { 0 }
  public var worldSize: Int { 1 }
  public var hosts: [Int] { [0] }

  public func barrier() throws(CollectiveError) {}
  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws(CollectiveError) {}
  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws(CollectiveError) {}

  public func allReduceMaximum(_ values: [Double]) throws(CollectiveError) -> [Double] { values }

  public func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, root: Int
  ) throws(CollectiveError) {
    guard root == 0 else {
      throw CollectiveError(operation: "broadcast", reason: "there is no rank \(root) of 1")
    }
  }

  public func allGather(_ bytes: [UInt8]) throws(CollectiveError) -> [UInt8] { bytes }

  public func shareMemory(
    byteCount: Int, purpose: String
  ) throws(CollectiveError) -> SharedMemory { .privateMemory(byteCount: byteCount) }

  public func startSend(
    _ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int
  ) throws(CollectiveError) -> any Transfer {
    throw CollectiveError(operation: "send", reason: "there is no rank \(rank) of 1 to send to")
  }

  public func startReceive(
    _ bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int
  ) throws(CollectiveError) -> any Transfer {
    throw CollectiveError(operation: "receive", reason: "there is no other rank of 1")
  }

  public func notifyAll() { notice.store(true, ordering: .relaxed) }
  public var isNotified: Bool { notice.load(ordering: .relaxed) }
}
