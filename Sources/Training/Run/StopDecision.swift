import Interfaces

/// How training ended.
public enum TrainingOutcome: Sendable, Equatable {
  case finished
  /// Early, with everything saved.
  case stopped(StopReason)
}

/// Why a run stops before its end.
public enum StopReason: Sendable, Equatable {
  case request
  case timeLimit
}

/// Whether the run is to stop before its end: on a request to any rank, or before its time limit,
/// on which the first rank decides. One a rank.
final class StopDecision {
  /// Known here, but not to all ranks yet.
  private(set) var reason: StopReason?
  private let group: any ProcessGroup
  private let request: StopRequest
  private let clock: JobClock
  /// Seconds of the job; infinite: no limit.
  private let limit: Double
  /// Seconds in which a checkpoint is surely written.
  private var savingSeconds: Double
  private var longestSave = 0.0
  private var longestStep = 0.0
  private var stepStarted: Double?

  /// - Parameters:
  ///   - timeLimit: Seconds; nil: none.
  ///   - stateBytes: Of a checkpoint, to judge by before the first one is written.
  init(
    _ group: any ProcessGroup, _ request: StopRequest, _ clock: JobClock, timeLimit: Double?,
    stateBytes: Int
  ) {
    self.group = group
    self.request = request
    self.clock = clock
    limit = group.rank == 0 ? timeLimit ?? .infinity : .infinity
    savingSeconds = Double(stateBytes) / 100e6 + 5
  }

  func beginStep() { stepStarted = clock.seconds }

  func endStep() {
    if let stepStarted { longestStep = max(longestStep, clock.seconds - stepStarted) }
    stepStarted = nil
  }

  func didSave(seconds: Double) {
    longestSave = max(longestSave, seconds)
    savingSeconds = 2 * longestSave
  }

  /// Whether what is under way is to be given up now. Asked between micro-batches; who finds a
  /// reason tells the others.
  var isDue: Bool {
    if reason != nil { return true }
    let now = clock.seconds
    // A step that has begun because there was time for it is not given up before its time is over.
    reason = ownReason(end: stepStarted.map { max(now, $0 + longestStep) } ?? now)
    if reason != nil { group.notifyAll() }
    return reason != nil || group.isNotified
  }

  /// What this rank says in an agreement.
  ///
  /// - Parameter isGivenUp: What the ranks were doing, by this one.
  func flags(isGivenUp: Bool) -> StepFlags {
    let now = clock.seconds
    // There has to be time for another step.
    reason = reason ?? ownReason(end: now + max(longestStep, stepStarted.map { now - $0 } ?? 0))
    var flags = StepFlags()
    flags.isGivenUp = isGivenUp
    flags.isStopRequested = reason == .request
    flags.isTimeOver = reason == .timeLimit
    return flags
  }

  /// - Parameter end: Seconds of the job after which saving would begin.
  private func ownReason(end: Double) -> StopReason? {
    request.isMade ? .request : end + savingSeconds > limit ? .timeLimit : nil
  }
}

extension StepFlags {
  /// Why all ranks stop now, if they do. Nothing is given up for another reason than a stop.
  var stopReason: StopReason? {
    isStopRequested ? .request : isTimeOver ? .timeLimit : isGivenUp ? .request : nil
  }
}
