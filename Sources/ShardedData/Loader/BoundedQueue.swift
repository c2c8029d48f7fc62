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
    // Waits of limited length must not depend on a clock that is set meanwhile.
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    defer { pthread_condattr_destroy(&attributes) }
    let status = (pthread_mutex_init(mutex, nil), pthread_cond_init(changed, &attributes))
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

  /// As `pop`, and nil also where `isInterrupted`, asked every now and then while it waits, says so.
  func pop(unless isInterrupted: () -> Bool) -> Element? {
    while !waitForElement(seconds: BoundedQueue.questionInterval) {
      if isInterrupted() { return nil }
    }
    return pop()
  }

  private static var questionInterval: Double { 0.05 }

  /// - Returns: Whether `pop` would not wait any more.
  private func waitForElement(seconds: Double) -> Bool {
    var limit = timespec()
    clock_gettime(CLOCK_MONOTONIC, &limit)
    limit.tv_nsec += Int(seconds * 1e9)
    limit.tv_sec += limit.tv_nsec / 1_000_000_000
    limit.tv_nsec %= 1_000_000_000
    return locked {
      var status: Int32 = 0
      while elements.isEmpty && !isFinished && !stopped && status != ETIMEDOUT {
        status = pthread_cond_timedwait(changed, mutex, &limit)
      }
      return !elements.isEmpty || isFinished || stopped
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
