/// A collective operation that did not complete.
public struct CollectiveError: Error, Sendable, CustomStringConvertible {
  public let operation: String
  public let reason: String

  /// Whether other ranks did not come in time: all who wait for them find this out.
  public let isStall: Bool

  public init(operation: String, reason: String, isStall: Bool = false) {
    self.operation = operation
    self.reason = reason
    self.isStall = isStall
  }

  /// Others did not come in time.
  ///
  /// - Parameters:
  ///   - place: What the run was doing.
  ///   - missing: Ranks that are known not to have come.
  ///   - isOneHost: Whether all ranks are on this host, so that nobody else can be missing.
  public static func stall(
    operation: String, place: String, seconds: Double, missing: [Int], isOneHost: Bool
  ) -> CollectiveError {
    let names = missing.map(String.init).joined(separator: ", ")
    let who =
      !missing.isEmpty
      ? "rank \(names) has not come"
      : isOneHost ? "all ranks have come" : "all ranks of this host have come, of another's not all"
    return CollectiveError(
      operation: operation,
      reason: "not complete after \(Int(seconds)) s in \(place): \(who)", isStall: true)
  }

  public var description: String { "\(operation) failed: \(reason)" }
}

/// A message under way. Its memory belongs to the group until it is complete.
public protocol Transfer: AnyObject {
  /// Not blocking; also moves messages on.
  func isComplete() throws(CollectiveError) -> Bool
}

/// Memory that the ranks of a host share: one region of each of them.
public final class SharedMemory: @unchecked Sendable {
  // Sendable: constant pointers; who writes which region when is the business of the owner.
  /// In the order of the host's ranks.
  public let regions: [UnsafeMutableRawBufferPointer]
  private let owner: AnyObject?

  /// - Parameter owner: Keeps the memory mapped.
  public init(regions: [UnsafeMutableRawBufferPointer], owner: AnyObject?) {
    self.regions = regions
    self.owner = owner
  }
}

/// The ranks of a run and what they can do together.
///
/// Collective methods are called by all ranks of the group, in the same order, with the same
/// counts; they block, and only borrow buffers for the call. One thread of a rank calls at a time,
/// but for notices.
public protocol ProcessGroup: AnyObject, Sendable {
  var rank: Int { get }
  var worldSize: Int { get }

  /// A number for each rank: ranks with the same one can share memory.
  var hosts: [Int] { get }

  /// Collective. Returns on a rank only after all ranks have called it.
  func barrier() throws(CollectiveError)

  /// Collective. Replaces `buffer` on every rank by the element-wise sum over ranks; the same bits
  /// on all.
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws(CollectiveError)

  /// Collective. As above in Double, for counts, losses and norms.
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws(CollectiveError)

  /// Collective. The element-wise largest value over ranks, for statuses and times.
  func allReduceMaximum(_ values: [Double]) throws(CollectiveError) -> [Double]

  /// Collective. Bytes of `root` on every rank. Sizes agree on all ranks.
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws(CollectiveError)

  /// Collective. The equally long `bytes` of all ranks, in rank order.
  func allGather(_ bytes: [UInt8]) throws(CollectiveError) -> [UInt8]

  /// Collective. Zeroed memory of `byteCount` bytes for this rank (others may ask for other sizes),
  /// aligned to 64, that all ranks of its host see. Mapped to the end of the run.
  ///
  /// - Throws: The same on all ranks of a host, where it has no such memory.
  func shareMemory(byteCount: Int, purpose: String) throws(CollectiveError) -> SharedMemory

  /// Not collective, not blocking. Every message needs its receive of the same length.
  func startSend(
    _ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int
  ) throws(CollectiveError) -> any Transfer

  /// Not collective, not blocking. Messages of one sender and tag arrive in the order of sending.
  func startReceive(
    _ bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int
  ) throws(CollectiveError) -> any Transfer

  /// Tells all ranks, once and for all, what they would learn at the end of the step only: that it
  /// will be given up. Later calls do nothing.
  ///
  /// Not collective, not blocking; any thread, at any time, also beside a collective of another
  /// thread. A hint: it may be late, and where it fails, the next agreement is what counts.
  func notifyAll()

  /// Whether a rank, this one included, has called `notifyAll`, as far as is known here.
  ///
  /// As `notifyAll`: not collective, not blocking, any thread.
  var isNotified: Bool { get }
}

extension ProcessGroup {
  /// Ranks on the host of this one, itself included.
  public var localSize: Int { hosts.count { $0 == hosts[rank] } }
}
