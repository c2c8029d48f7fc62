import Glibc
import Interfaces

/// Where the threads of a `ThreadProcessGroup` wait for each other and see each other's buffers.
final class ThreadMeeting: @unchecked Sendable {
  // Sendable: everything that changes is read and written under `mutex`. The buffers shown here
  // are used only between two meetings, while their owners wait.

  /// What a rank brings to a collective.
  struct Contribution {
    let operation: String
    let buffer: UnsafeMutableRawBufferPointer

    func matches(_ other: Contribution) -> Bool {
      operation == other.operation && buffer.count == other.buffer.count
    }

    var summary: String { "\(operation) of \(buffer.count) bytes" }
  }

  let count: Int
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var arriving: [Int: Contribution] = [:]
  private var agreed: [Contribution] = []
  private var generation = 0
  private var left: [Int] = []

  init(count: Int) {
    self.count = count
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Returns on all ranks, with the contributions of all in rank order, once all have come.
  ///
  /// - Throws: `CollectiveError` if a rank has left, since then not all can come.
  func meet(_ rank: Int, _ contribution: Contribution) throws(CollectiveError) -> [Contribution] {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    let own = generation
    arriving[rank] = contribution
    if arriving.count == count {
      agreed = arriving.sorted { $0.key < $1.key }.map(\.value)
      arriving = [:]
      generation += 1
      pthread_cond_broadcast(condition)
      return agreed
    }
    while generation == own {
      if let absent = left.first {
        arriving[rank] = nil
        throw CollectiveError(
          operation: contribution.operation, reason: "rank \(absent) has ended already")
      }
      pthread_cond_wait(condition, mutex)
    }
    // Not replaced yet: the next meeting needs this rank too.
    return agreed
  }

  /// To be called when a rank's thread ends.
  func leave(_ rank: Int) {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    left.append(rank)
    pthread_cond_broadcast(condition)
  }
}
