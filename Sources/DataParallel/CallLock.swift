import Glibc

/// Lets one thread at a time into a library that does not do so itself.
final class CallLock: @unchecked Sendable {
  // Sendable: a constant pointer to what threads are meant to share.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

  init() {
    let status = pthread_mutex_init(mutex, nil)
    precondition(status == 0, "no mutex to be had: \(status)")
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  /// Waits for its turn and runs `body`.
  func locked<Result: ~Copyable, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body()
  }

  /// Runs `body` unless another thread is inside; then does nothing.
  func lockedIfFree(_ body: () -> Void) {
    guard pthread_mutex_trylock(mutex) == 0 else { return }
    defer { pthread_mutex_unlock(mutex) }
    body()
  }
}
