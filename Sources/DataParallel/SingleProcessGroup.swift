public import Interfaces

/// One rank on its own, without any library: what a run on one process uses.
public final class SingleProcessGroup: ProcessGroup {
  public init() {}

  public var rank: Int { 0 }
  public var worldSize: Int { 1 }

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
}
