import Glibc
import Synchronization

/// What SIGUSR1 sets. A constant of the program's image, so that the handler has one store to do and
/// nothing to initialize.
private let signalFlag = Atomic<Bool>(false)

/// Whether somebody wants the run to stop at the next good moment: a batch system that needs the
/// machine.
public final class StopRequest: Sendable {
  private let flag = Atomic<Bool>(false)
  private let hearsSignal: Bool

  /// One that is made by `make` only.
  public init() { hearsSignal = false }

  private init(hearsSignal: Bool) { self.hearsSignal = hearsSignal }

  /// One that SIGUSR1 makes as well, which does nothing else from here on. To be called before
  /// other threads and MPI are started.
  public static func bySignal() -> StopRequest {
    // Whatever the compiler makes of the constant, it is there before the first signal.
    signalFlag.store(false, ordering: .relaxed)
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { _ in signalFlag.store(true, ordering: .relaxed) }
    // Calls of libraries that a signal interrupts go on.
    action.sa_flags = SA_RESTART
    let status = sigaction(SIGUSR1, &action, nil)
    precondition(status == 0, "there is no SIGUSR1")
    // Who starts a program passes on what it blocks itself.
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGUSR1)
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    return StopRequest(hearsSignal: true)
  }

  public func make() { flag.store(true, ordering: .relaxed) }

  public var isMade: Bool {
    flag.load(ordering: .relaxed) || hearsSignal && signalFlag.load(ordering: .relaxed)
  }
}
