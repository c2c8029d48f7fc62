import Glibc
import Synchronization

/// When waiting for other ranks becomes a failure, and what the run is doing meanwhile.
///
/// One for the rank; every wait of its group and exchange asks it.
public final class StallGuard: Sendable {
  private struct State {
    var timeout = 0.0
    var place = "the start"
    var isFirstStep = true
  }

  /// A first step maps memory and fills caches, on some ranks of a cold machine much later than
  /// on others.
  private static let firstStepFactor = 5.0

  private let state = Mutex(State())

  public init() {}

  /// - Parameter timeoutSeconds: 0: for ever.
  public func limit(to timeoutSeconds: Double) {
    state.withLock { $0.timeout = timeoutSeconds }
  }

  /// Says where the run is, for the report.
  public func enter(step: Int, isFirst: Bool) {
    state.withLock {
      $0.place = "step \(step)"
      $0.isFirstStep = isFirst
    }
  }

  /// What the run is doing.
  public var place: String { state.withLock { $0.place } }

  /// Seconds after which a wait has failed.
  var limit: Double {
    state.withLock {
      guard $0.timeout > 0 else { return .infinity }
      return $0.isFirstStep ? $0.timeout * StallGuard.firstStepFactor : $0.timeout
    }
  }
}

/// Waiting without burning a core that another rank needs: yields first, then sleeps.
struct Waiter {
  private static let yields = 50
  private static let sleepMicroseconds: UInt32 = 50
  private let started = Waiter.now()
  private var pauses = 0

  /// - Returns: Seconds waited, where that is longer than `stallGuard` allows.
  mutating func pause(_ stallGuard: StallGuard) -> Double? {
    pauses += 1
    if pauses <= Waiter.yields {
      sched_yield()
      return nil
    }
    usleep(Waiter.sleepMicroseconds)
    guard pauses % 256 == 0 else { return nil }
    let seconds = Waiter.now() - started
    return seconds > stallGuard.limit ? seconds : nil
  }

  /// Something has happened: the next pauses are short ones again.
  mutating func progress() { self = Waiter() }

  static func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}
