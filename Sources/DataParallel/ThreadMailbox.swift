import Interfaces
import Synchronization

/// Messages between the threads of a `ThreadProcessGroup`, and the memory that they share.
final class ThreadMailbox: Sendable {
  struct Address: Hashable, Sendable {
    let source: Int
    let destination: Int
    let tag: Int
  }

  private let messages = Mutex<[Address: [[UInt8]]]>([:])
  private let memory = Mutex<[PrivateMemory]>([])

  func send(_ bytes: [UInt8], _ address: Address) {
    messages.withLock { $0[address, default: []].append(bytes) }
  }

  /// The oldest message, if one has come.
  func take(_ address: Address) -> [UInt8]? {
    messages.withLock { messages in
      guard let waiting = messages[address], !waiting.isEmpty else { return nil }
      return messages[address]?.removeFirst()
    }
  }

  /// Keeps memory while a rank may still use it.
  func keep(_ memory: PrivateMemory) { self.memory.withLock { $0.append(memory) } }
}

final class ThreadSend: Transfer {
  func isComplete() throws(CollectiveError) -> Bool { true }
}

final class ThreadReceive: Transfer {
  private let bytes: UnsafeMutableRawBufferPointer
  private let address: ThreadMailbox.Address
  private let mailbox: ThreadMailbox
  private var isDone = false

  init(
    _ bytes: UnsafeMutableRawBufferPointer, _ address: ThreadMailbox.Address,
    _ mailbox: ThreadMailbox
  ) {
    self.bytes = bytes
    self.address = address
    self.mailbox = mailbox
  }

  func isComplete() throws(CollectiveError) -> Bool {
    if isDone { return true }
    guard let message = mailbox.take(address) else { return false }
    guard message.count == bytes.count else {
      throw CollectiveError(
        operation: "receive", reason: "got \(message.count) bytes instead of \(bytes.count)")
    }
    bytes.copyBytes(from: message)
    isDone = true
    return true
  }
}
