import Glibc

/// A queue of limited length between threads that produce and threads that consume.
final class BoundedQueue<Element: Sendable>: @unchecked Sendable {
  // Sendable: every stored variable is only touched with the mutex held.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let changed: UnsafeMutablePointer<pthread_cond_t>
  private let capacity: Int
  private var elements: [Element] = []
  private var isFinished = false
  private var stopped = false

  /// - Precondition: `capacity` is at least 1.
  init(capacity: Int) {
    precondition(capacity >= 1, "a queue of \(capacity) elements")
    self.capacity = capacity
    mutex = .allocate(capacity: 1)
    changed = .allocate(capacity: 1)
    let status = (pthread_mutex_init(mutex, nil), pthread_cond_init(changed, nil))
    precondition(status == (0, 0), "no mutex to be had: \(status)")
  }

  deinit {
    pthread_cond_destroy(changed)
    pthread_mutex_destroy(mutex)
    changed.deallocate()
    mutex.deallocate()
  }

  /// Waits for room and adds an element.
  ///
  /// - Returns: False when the queue was stopped; the element is dropped then.
  func push(_ element: Element) -> Bool {
    locked {
      while elements.count == capacity && !stopped { pthread_cond_wait(changed, mutex) }
      guard !stopped else { return false }
      elements.append(element)
      return true
    }
  }

  /// Waits for an element; nil when the queue is stopped, or finished and empty.
  func pop() -> Element? {
    locked {
      while elements.isEmpty && !isFinished && !stopped { pthread_cond_wait(changed, mutex) }
      return stopped || elements.isEmpty ? nil : elements.removeFirst()
    }
  }

  /// No further elements will come.
  func finish() {
    locked { isFinished = true }
  }

  /// Wakes both sides; elements still held are dropped.
  func stop() {
    locked {
      stopped = true
      elements.removeAll()
    }
  }

  var isStopped: Bool { locked { stopped } }

  private func locked<Result>(_ body: () -> Result) -> Result {
    pthread_mutex_lock(mutex)
    defer {
      pthread_cond_broadcast(changed)
      pthread_mutex_unlock(mutex)
    }
    return body()
  }
}
