import Glibc
public import Interfaces
public import MPI
import Synchronization

/// The ranks of an MPI communicator.
///
/// Waits are loops over non-blocking calls, which sleep: a waiting rank leaves its core to others,
/// and notices when the others do not come. Sums are in the library's order: the same bits on all
/// ranks and in every repetition of a run, but not across numbers of ranks or layouts of hosts.
public final class MPIProcessGroup: ProcessGroup {
  public let hosts: [Int]
  /// When waiting becomes a failure.
  public let stallGuard: StallGuard
  private let communicator: MPICommunicator
  private let host: MPICommunicator
  /// Ranks of this host, in the order of `host`.
  private let localRanks: [Int]
  /// Collectives that each rank of the host has begun; nil where they cannot see each other's.
  private let begun: SharedCounters?
  private let windows = Mutex<[MPISharedWindow]>([])
  /// MPI is called by one thread at a time; notices are given and looked for beside the thread that
  /// exchanges.
  private let lock = CallLock()
  private let notices: MPINotices

  /// Collective over the communicator.
  ///
  /// - Parameter communicator: Used for nothing else from here on, as collectives of two users
  ///   would be matched with each other.
  public init(
    communicator: MPICommunicator, stallGuard: StallGuard = StallGuard()
  ) throws(CollectiveError) {
    do {
      let host = try communicator.splitByHost()
      var first = [Int64(communicator.rank)]
      try first.withUnsafeMutableBufferPointer { (first) throws(MPIError) in
        try host.broadcast(first, root: 0)
      }
      var all = [Int64](repeating: 0, count: communicator.size)
      try first.withUnsafeBufferPointer { (first) throws(MPIError) in
        try all.withUnsafeMutableBufferPointer { (all) throws(MPIError) in
          try communicator.allGather(first, into: all)
        }
      }
      hosts = all.map(Int.init)
      let own = hosts[communicator.rank]
      localRanks = hosts.indices.filter { [hosts] in hosts[$0] == own }
      self.host = host
      self.communicator = communicator
      notices = try MPINotices(communicator, lock)
      self.stallGuard = stallGuard
      // Too small for any /dev/shm to refuse.
      let window =
        host.size > 1 ? try MPISharedWindow(host, byteCount: SharedCounters.byteCount(1)) : nil
      begun = window.map { SharedCounters(SharedMemory(regions: $0.regions, owner: nil)) }
      if let window { windows.withLock { $0.append(window) } }
    } catch {
      throw CollectiveError(operation: "joining the ranks of a host", reason: error.description)
    }
  }

  public var rank: Int { communicator.rank }
  public var worldSize: Int { communicator.size }

  /// Frees shared memory, and takes what is still on its way. Collective.
  func close() throws(MPIError) {
    try notices.close()
    let windows = self.windows.withLock { windows in
      defer { windows = [] }
      return windows
    }
    for window in windows.reversed() { try window.free() }
  }

  // MARK: Collectives

  public func barrier() throws(CollectiveError) {
    try complete("barrier") { () throws(MPIError) in try communicator.startBarrier() }
  }

  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws(CollectiveError) {
    // The library's non-blocking sum is much slower. The barrier finds ranks that do not come.
    try barrier()
    try collective(lock, "allReduceSum") { () throws(MPIError) in
      try communicator.allReduce(buffer, .sum)
    }
  }

  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws(CollectiveError) {
    try complete("allReduceSum") { () throws(MPIError) in
      try communicator.startAllReduce(buffer, .sum)
    }
  }

  public func allReduceMaximum(_ values: [Double]) throws(CollectiveError) -> [Double] {
    // Not MPI_MAX: with a NaN its result depends on the order, and so on the rank.
    let bytes = values.withUnsafeBytes { [UInt8]($0) }
    let gathered = try gather(bytes, "allReduceMaximum").withUnsafeBytes { bytes in
      (0..<values.count * worldSize).map {
        bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Double>.stride, as: Double.self)
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
    try complete("broadcast") { () throws(MPIError) in
      try communicator.startBroadcast(bytes, root: root)
    }
  }

  public func allGather(_ bytes: [UInt8]) throws(CollectiveError) -> [UInt8] {
    try gather(bytes, "allGather")
  }

  private func gather(_ bytes: [UInt8], _ operation: String) throws(CollectiveError) -> [UInt8] {
    let gathered = UnsafeMutableRawBufferPointer.allocate(
      byteCount: bytes.count * worldSize, alignment: 16)
    defer { gathered.deallocate() }
    let own = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
    defer { own.deallocate() }
    own.copyBytes(from: bytes)
    try complete(operation) { () throws(MPIError) in
      try communicator.startAllGather(UnsafeRawBufferPointer(own), into: gathered)
    }
    return [UInt8](gathered)
  }

  // MARK: Memory and messages

  public func shareMemory(
    byteCount: Int, purpose: String
  ) throws(CollectiveError) -> SharedMemory {
    let operation = "sharing memory for \(purpose)"
    if host.size == 1 { return .privateMemory(byteCount: byteCount) }
    return try collective(lock, operation) { () throws(MPIError) in
      let window = try MPISharedWindow(host, byteCount: byteCount)
      windows.withLock { $0.append(window) }
      return SharedMemory(regions: window.regions, owner: nil)
    }
  }

  public func startSend(
    _ bytes: UnsafeRawBufferPointer, to rank: Int, tag: Int
  ) throws(CollectiveError) -> any Transfer {
    try collective(lock, "send") { () throws(MPIError) in
      MPITransfer(try communicator.startSend(bytes, to: rank, tag: tag), lock)
    }
  }

  public func startReceive(
    _ bytes: UnsafeMutableRawBufferPointer, from rank: Int, tag: Int
  ) throws(CollectiveError) -> any Transfer {
    try collective(lock, "receive") { () throws(MPIError) in
      MPITransfer(try communicator.startReceive(into: bytes, from: rank, tag: tag), lock)
    }
  }

  public func notifyAll() { notices.give() }
  public var isNotified: Bool { notices.look() }

  // MARK: Waiting

  /// Starts an operation of all ranks and waits for it.
  private func complete(
    _ operation: String, _ start: () throws(MPIError) -> MPIRequest
  ) throws(CollectiveError) {
    let number = begun?.increment(0, of: host.rank)
    do {
      // Optional, as a closure cannot consume it otherwise.
      var request: MPIRequest? = try lock.locked(start)
      var waiter = Waiter()
      while !(try lock.locked { () throws(MPIError) in try request?.test() ?? true }) {
        if let seconds = waiter.pause(stallGuard) {
          request.take()?.abandon()
          throw stall(operation, seconds: seconds, number: number)
        }
      }
      try lock.locked { () throws(MPIError) in try request.take()?.wait() }
    } catch let error as MPIError {
      throw CollectiveError(operation: operation, reason: error.description)
    } catch let error as CollectiveError {
      throw error
    } catch {
      throw CollectiveError(operation: operation, reason: "\(error)")
    }
  }

  private func stall(_ operation: String, seconds: Double, number: Int?) -> CollectiveError {
    var missing: [Int] = []
    if let begun, let number {
      missing = localRanks.indices.filter { begun.value(0, of: $0) < number }.map { localRanks[$0] }
    }
    return .stall(
      operation: operation, place: stallGuard.place, seconds: seconds, missing: missing,
      isOneHost: localRanks.count == worldSize)
  }
}

/// Runs a call of the MPI module, and says in the words of `Interfaces` what failed.
private func collective<Result>(
  _ lock: CallLock, _ operation: String, _ call: () throws(MPIError) -> Result
) throws(CollectiveError) -> Result {
  do {
    return try lock.locked(call)
  } catch {
    throw CollectiveError(operation: operation, reason: error.description)
  }
}
