import Glibc
public import Interfaces
import Synchronization

/// Ranks that are threads of one process: for tests of everything that communicates.
///
/// Sums are in rank order, so they have the same bits in every run.
public final class ThreadProcessGroup: ProcessGroup {
  public let rank: Int
  public let worldSize: Int
  public let hosts: [Int]
  private let meeting: ThreadMeeting
  private let mailbox: ThreadMailbox

  private init(rank: Int, hosts: [Int], meeting: ThreadMeeting, mailbox: ThreadMailbox) {
    self.rank = rank
    self.hosts = hosts
    worldSize = meeting.count
    self.meeting = meeting
    self.mailbox = mailbox
  }

  /// Runs `body` on `count` threads, each with a rank of one group, and waits for all of them.
  ///
  /// When a body returns or throws, collectives that still wait for its rank, and all later ones,
  /// throw `CollectiveError` on the other ranks.
  ///
  /// - Parameter hosts: A number for each rank: those with the same one count as on one host; by
  ///   default all.
  /// - Returns: The results in rank order.
  /// - Throws: The error that was thrown first; the others follow from it.
  @discardableResult
  public static func run<Result: Sendable, Failure: Error>(
    count: Int, hosts: [Int]? = nil,
    body: @escaping @Sendable (ThreadProcessGroup) throws(Failure) -> Result
  ) throws(Failure) -> [Result] {
    precondition(count > 0, "a group of \(count) ranks")
    let meeting = ThreadMeeting(count: count)
    let mailbox = ThreadMailbox()
    let hosts = hosts ?? Array(repeating: 0, count: count)
    precondition(hosts.count == count, "a host for each rank")
    let outcome = Outcome<Result, Failure>(count: count)
    let threads = (0..<count).map { rank in
      startThread {
        do throws(Failure) {
          let group = ThreadProcessGroup(
            rank: rank, hosts: hosts, meeting: meeting, mailbox: mailbox)
          outcome.succeed(rank, try body(group))
        } catch {
          // Before leaving, so that the errors of those who wait for this rank come later.
          outcome.fail(error)
        }
        meeting.leave(rank)
      }
    }
    for thread in threads { pthread_join(thread, nil) }
    return try outcome.results()
  }

  // MARK: Collectives

  public func barrier() throws(CollectiveError) {
    try exchange("barrier", UnsafeMutableRawBufferPointer(start: nil, count: 0)) { _ in }
  }

  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws(CollectiveError) {
    try exchange("allReduceSum", UnsafeMutableRawBufferPointer(buffer)) { [self] in
      sumOwnSection(of: $0.map { $0.bindMemory(to: Float.self) })
    }
  }

  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws(CollectiveError) {
    try exchange("allReduceSum", UnsafeMutableRawBufferPointer(buffer)) { [self] in
      sumOwnSection(of: $0.map { $0.bindMemory(to: Double.self) })
    }
  }

  public func allReduceMaximum(_ values: [Double]) throws(CollectiveError) -> [Double] {
    var (own, result) = (values, values)
    try own.withUnsafeMutableBufferPointer { (own) throws(CollectiveError) in
      try exchange("allReduceMaximum", UnsafeMutableRawBufferPointer(own)) { buffers in
        for buffer in buffers.map({ $0.bindMemory(to: Double.self) }) {
          for index in result.indices { result[index] = largest(result[index], buffer[index]) }
        }
      }
    }
    return result
  }

  public func broadcast(
    _ bytes: UnsafeMutableRawBufferPointer, root: Int
  ) throws(CollectiveError) {
    guard (0..<worldSize).contains(root) else {
      throw CollectiveError(
        operation: "broadcast", reason: "there is no rank \(root) of \(worldSize)")
    }
    try exchange("broadcast from \(root)", bytes) { [self] in
      if rank != root { bytes.copyMemory(from: UnsafeRawBufferPointer($0[root])) }
    }
  }

  public func allGather(_ bytes: [UInt8]) throws(CollectiveError) -> [UInt8] {
    var (own, gathered) = (bytes, [UInt8]())
    try own.withUnsafeMutableBufferPointer { (own) throws(CollectiveError) in
      try exchange("allGather", UnsafeMutableRawBufferPointer(own)) {
        for buffer in $0 { gathered.append(contentsOf: buffer) }
      }
    }
    return gathered
  }

  public func shareMemory(
    byteCount: Int, purpose: String
  ) throws(CollectiveError) -> SharedMemory {
    let own = PrivateMemory(byteCount: byteCount)
    var regions: [UnsafeMutableRawBufferPointer] = []
    // Only places and sizes are shown, as the sizes may differ.
    var words = (UInt(bitPattern: own.bytes.baseAddress), UInt(byteCount))
    try withUnsafeMutableBytes(of: &words) { (words) throws(CollectiveError) in
      try exchange("shareMemory", words) { [self] in
        for other in 0..<worldSize where hosts[other] == hosts[rank] {
          let (start, count) = $0[other].load(as: (UInt, UInt).self)
          regions.append(
            UnsafeMutableRawBufferPointer(
              start: UnsafeMutableRawPointer(bitPattern: start), count: Int(count)))
        }
      }
    }
    mailbox.keep(own)
    return SharedMemory(regions: regions, owner: mailbox)
  }

  public func startSend(
    _ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int
  ) throws(CollectiveError) -> any Transfer {
    mailbox.send([UInt8](bytes), .init(source: self.rank, destination: rank, tag: tag))
    return ThreadSend()
  }

  public func startReceive(
    _ bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int
  ) throws(CollectiveError) -> any Transfer {
    ThreadReceive(bytes, .init(source: rank, destination: self.rank, tag: tag), mailbox)
  }

  public func notifyAll() { mailbox.notice.store(true, ordering: .relaxed) }
  public var isNotified: Bool { mailbox.notice.load(ordering: .relaxed) }

  // MARK: Helpers

  /// Shows this rank's buffer to the others, runs `body` with the buffers of all, and returns when
  /// all ranks have done so.
  private func exchange(
    _ operation: String, _ buffer: UnsafeMutableRawBufferPointer,
    _ body: ([UnsafeMutableRawBufferPointer]) -> Void
  ) throws(CollectiveError) {
    let contribution = ThreadMeeting.Contribution(operation: operation, buffer: buffer)
    let all = try meeting.meet(rank, contribution)
    // All ranks see the same contributions, so all throw or none.
    if let other = all.indices.first(where: { !all[$0].matches(all[0]) }) {
      throw CollectiveError(
        operation: operation,
        reason: "rank 0 calls \(all[0].summary), and rank \(other) \(all[other].summary)")
    }
    body(all.map(\.buffer))
    _ = try meeting.meet(rank, contribution)
  }

  /// Adds up this rank's share of the elements in rank order and stores the sums in all buffers.
  /// Shares are disjoint, so no two threads touch an element.
  private func sumOwnSection<T: FloatingPoint>(of buffers: [UnsafeMutableBufferPointer<T>]) {
    let count = buffers[0].count
    let section = (count * rank / worldSize)..<(count * (rank + 1) / worldSize)
    let sums = buffers[0]
    for buffer in buffers.dropFirst() {
      for index in section { sums[index] += buffer[index] }
    }
    for buffer in buffers.dropFirst() {
      for index in section { buffer[index] = sums[index] }
    }
  }
}

/// What the threads of a run leave behind.
private final class Outcome<Result: Sendable, Failure: Error>: Sendable {
  private let values: Mutex<[Result?]>
  private let firstFailure = Mutex<Failure?>(nil)

  init(count: Int) { values = Mutex([Result?](repeating: nil, count: count)) }

  func succeed(_ rank: Int, _ value: Result) { values.withLock { $0[rank] = value } }
  func fail(_ error: Failure) { firstFailure.withLock { $0 = $0 ?? error } }

  func results() throws(Failure) -> [Result] {
    if let failure = firstFailure.withLock({ $0 }) { throw failure }
    return values.withLock { $0.compactMap { $0 } }
  }
}
