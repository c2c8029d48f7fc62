/// A collective operation that did not complete.
public struct CollectiveError: Error, Sendable, CustomStringConvertible {
  public let operation: String
  public let reason: String

  public init(operation: String, reason: String) {
    self.operation = operation
    self.reason = reason
  }

  public var description: String { "\(operation) failed: \(reason)" }
}

/// The ranks of a run and what they can do together.
///
/// Every method but the two properties is collective: all ranks of the group call it, in the same
/// order, with the same counts. All of them block. Buffers are only borrowed for the call.
public protocol ProcessGroup: AnyObject, Sendable {
  var rank: Int { get }
  var worldSize: Int { get }

  /// Returns on a rank only after all ranks have called it.
  func barrier() throws(CollectiveError)

  /// Replaces `buffer` on every rank by the element-wise sum over ranks; the same bits on all.
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws(CollectiveError)

  /// As above in Double, for counts, losses and norms.
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws(CollectiveError)

  /// The element-wise largest value over ranks, for statuses and times.
  func allReduceMaximum(_ values: [Double]) throws(CollectiveError) -> [Double]

  /// Bytes of `root` on every rank. Sizes agree on all ranks.
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws(CollectiveError)

  /// The equally long `bytes` of all ranks, in rank order.
  func allGather(_ bytes: [UInt8]) throws(CollectiveError) -> [UInt8]
}
