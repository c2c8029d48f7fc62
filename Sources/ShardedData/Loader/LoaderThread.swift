import Glibc

/// A thread of the loader, which ends by itself.
final class LoaderThread {
  private let thread: pthread_t
  private var isJoined = false

  /// - Throws: `ShardError.noThread`.
  init(_ body: @escaping @Sendable () -> Void) throws(ShardError) {
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Body(run: body))
    let code = pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run()
        return nil
      }, context.toOpaque())
    guard code == 0 else {
      context.release()
      throw .noThread(code: code)
    }
    self.thread = thread
  }

  /// Waits for the end. A second call does nothing.
  func join() {
    guard !isJoined else { return }
    pthread_join(thread, nil)
    isJoined = true
  }

  private final class Body: Sendable {
    let run: @Sendable () -> Void
    init(run: @escaping @Sendable () -> Void) { self.run = run }
  }
}
