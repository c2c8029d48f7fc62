import MPI
import Synchronization

/// The notice of an `MPIProcessGroup`: an empty message from whoever gives it to each other rank, on
/// a communicator of its own.
final class MPINotices: @unchecked Sendable {
  // Sendable: the atomics; everything else is touched with the lock held only.

  /// The library finds a message that has come by TCP a few calls later.
  private static let probes = 16

  private let communicator: MPICommunicator
  private let lock: CallLock
  private let isGiven = Atomic<Bool>(false)
  private let isKnown = Atomic<Bool>(false)
  /// Own messages; none before they are sent.
  private var sends: [MPITransfer] = []
  private var sources: Set<Int> = []

  /// Collective over the communicator.
  init(_ communicator: MPICommunicator, _ lock: CallLock) throws(MPIError) {
    self.communicator = try communicator.duplicate()
    self.lock = lock
  }

  func give() {
    isGiven.store(true, ordering: .relaxed)
    isKnown.store(true, ordering: .relaxed)
    lock.lockedIfFree { try? send() }
  }

  /// - Returns: Whether a rank has given notice. Asks the library unless it is being called by
  ///   another thread just now.
  func look() -> Bool {
    lock.lockedIfFree { try? look(probes: MPINotices.probes) }
    return isKnown.load(ordering: .relaxed)
  }

  /// With the lock held.
  private func look(probes: Int) throws(MPIError) {
    // The library may not have been free when notice was given.
    try send()
    for _ in 0..<probes where !isKnown.load(ordering: .relaxed) {
      if let source = try communicator.senderOfWaitingMessage() { try receive(from: source) }
    }
  }

  private func send() throws(MPIError) {
    guard isGiven.load(ordering: .relaxed), sends.isEmpty else { return }
    for rank in 0..<communicator.size where rank != communicator.rank {
      sends.append(
        MPITransfer(
          try communicator.startSend(UnsafeRawBufferPointer(start: nil, count: 0), to: rank), lock))
    }
  }

  private func receive(from source: Int) throws(MPIError) {
    try communicator.receive(
      into: UnsafeMutableBufferPointer<UInt8>(start: nil, count: 0), from: source)
    sources.insert(source)
    isKnown.store(true, ordering: .relaxed)
  }

  /// Receives what was sent to this rank and not looked at, so that nothing is left when MPI ends.
  ///
  /// Collective. Blocking. While no other thread calls the library.
  func close() throws(MPIError) {
    try lock.locked { () throws(MPIError) in try send() }
    var senders = [UInt8](repeating: 0, count: communicator.size)
    senders[communicator.rank] = sends.isEmpty ? 0 : 1
    try senders.withUnsafeMutableBufferPointer { (senders) throws(MPIError) in
      try communicator.allGather(senders)
    }
    for source in senders.indices
    where senders[source] != 0 && source != communicator.rank && !sources.contains(source) {
      try receive(from: source)
    }
    for send in sends { try send.wait() }
    sends = []
  }
}
