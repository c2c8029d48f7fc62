import Interfaces
import Synchronization

/// Messages between the threads of a `ThreadProcessGroup`, and the memory that they share.
final class ThreadMailbox: Sendable {
  struct Address: Hashable, Sendable {
    let source: Int
    let destination: Int
    let tag: Int
  }

  /// What is on its way from one rank to another with one tag. The n-th message is for the n-th
  /// receive, whichever is asked first whether it is complete.
  private struct Queue {
    var messages: [Int: [UInt8]] = [:]
    var sent = 0
    var expected = 0
  }

  /// What `notifyAll` sets for all ranks.
  let notice = Atomic<Bool>(false)
  private let queues = Mutex<[Address: Queue]>([:])
  private let memory = Mutex<[PrivateMemory]>([])

  func send(_ bytes: [UInt8], _ address: Address) {
    queues.withLock { queues in
      var queue = queues[address, default: Queue()]
      queue.messages[queue.sent] = bytes
      queue.sent += 1
      queues[address] = queue
    }
  }

  /// - Returns: The number of the message that a receive which begins now is for.
  func expect(_ address: Address) -> Int {
    queues.withLock { queues in
      defer { queues[address, default: Queue()].expected += 1 }
      return queues[address, default: Queue()].expected
    }
  }

  /// The message with this number, if it has come.
  func take(_ number: Int, _ address: Address) -> [UInt8]? {
    queues.withLock { $0[address]?.messages.removeValue(forKey: number) }
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
  private let number: Int
  private let mailbox: ThreadMailbox
  private var isDone = false

  init(
    _ bytes: UnsafeMutableRawBufferPointer, _ address: ThreadMailbox.Address,
    _ mailbox: ThreadMailbox
  ) {
    self.bytes = bytes
    self.address = address
    self.mailbox = mailbox
    number = mailbox.expect(address)
  }

  func isComplete() throws(CollectiveError) -> Bool {
    if isDone { return true }
    guard let message = mailbox.take(number, address) else { return false }
    guard message.count == bytes.count else {
      throw CollectiveError(
        operation: "receive", reason: "got \(message.count) bytes instead of \(bytes.count)")
    }
    bytes.copyBytes(from: message)
    isDone = true
    return true
  }
}
