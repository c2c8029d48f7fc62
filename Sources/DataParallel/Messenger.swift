import Glibc
public import Interfaces

/// Blocking messages between two ranks, for what is seldom sent.
public struct Messenger {
  private let group: any ProcessGroup
  private let purpose: String
  private let patience: Double

  /// - Parameters:
  ///   - purpose: What fails where a message does not come.
  ///   - patience: Seconds after which it does not.
  public init(_ group: any ProcessGroup, purpose: String, patience: Double) {
    self.group = group
    self.purpose = purpose
    self.patience = patience
  }

  /// Not collective. Blocking, until the other rank has it. The bytes are copied.
  public func send(_ bytes: [UInt8], to rank: Int) throws(CollectiveError) {
    let memory = UnsafeMutableRawBufferPointer.allocate(
      byteCount: max(1, bytes.count), alignment: 16)
    defer { memory.deallocate() }
    memory.copyBytes(from: bytes)
    try finish(
      try group.startSend(
        UnsafeRawBufferPointer(rebasing: memory[..<bytes.count]), to: rank, tag: 0))
  }

  /// Not collective. Blocking.
  ///
  /// - Parameter count: The length that was sent.
  public func receive(_ count: Int, from rank: Int) throws(CollectiveError) -> [UInt8] {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, count), alignment: 16)
    defer { memory.deallocate() }
    let part = UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
    try finish(try group.startReceive(part, from: rank, tag: 0))
    return Array(part)
  }

  private func finish(_ transfer: any Transfer) throws(CollectiveError) {
    let started = Waiter.now()
    while !(try transfer.isComplete()) {
      sched_yield()
      guard Waiter.now() - started < patience else {
        throw CollectiveError(
          operation: purpose, reason: "a message between two ranks has not come", isStall: true)
      }
    }
  }
}
