import DataParallel
import Synchronization
import Testing

@testable import Training

/// A clock that tests set.
private final class HandClock: Sendable {
  private let time = Mutex(100.0)
  var clock: JobClock { JobClock { [self] in time.withLock { $0 } } }
  func advance(_ seconds: Double) { time.withLock { $0 += seconds } }
}

@Suite struct StopDecisionTests {
  private let hand = HandClock()
  private let request = StopRequest()
  private let group = SingleProcessGroup()

  /// Saving is thought to take 5 s + 300 MB at 100 MB/s = 8 s at first.
  private func decision(limit: Double?) -> StopDecision {
    StopDecision(group, request, hand.clock, timeLimit: limit, stateBytes: 300_000_000)
  }

  private var none: StepFlags { StepFlags() }

  @Test func flagsGoThroughACollective() {
    var flags = StepFlags()
    #expect(StepFlags(values: flags.values) == flags)
    #expect(flags.stopReason == nil)
    flags.isTimeOver = true
    #expect(StepFlags(values: flags.values) == flags)
    #expect(flags.stopReason == .timeLimit)
    flags.isGivenUp = true
    flags.isStopRequested = true
    #expect(StepFlags(values: flags.values) == flags)
    #expect(flags.stopReason == .request, "what somebody asked for goes first")
    flags.isWriting = true
    #expect(StepFlags(values: flags.values) == flags)
    #expect(flags.values == [1, 1, 1, 1])
  }

  @Test func requestIsToldToAll() {
    let stop = decision(limit: nil)
    #expect(!stop.isDue)
    #expect(stop.flags(isGivenUp: false) == none)
    request.make()
    #expect(!group.isNotified)
    #expect(stop.isDue)
    #expect(group.isNotified)
    #expect(stop.flags(isGivenUp: true).stopReason == .request)
  }

  @Test func noticeOfAnotherIsFollowedAndNotPassedOn() {
    let stop = decision(limit: nil)
    group.notifyAll()
    #expect(stop.isDue)
    #expect(stop.reason == nil)
    var expected = StepFlags()
    expected.isGivenUp = true
    #expect(stop.flags(isGivenUp: true) == expected)
  }

  @Test func limitWithoutTimeForAnythingStopsBeforeTheFirstStep() {
    let stop = decision(limit: 7)
    stop.beginStep()
    #expect(stop.isDue)
    #expect(stop.reason == .timeLimit)
  }

  @Test func firstStepIsGivenUpWhereItsTimeIsOver() {
    let stop = decision(limit: 20)
    stop.beginStep()
    hand.advance(12)
    #expect(!stop.isDue)
    hand.advance(0.5)
    #expect(stop.isDue)
  }

  /// Steps of 10 s and 8 s for saving, in 60 s: the fifth step would end at 50 s.
  @Test func stepsAreBegunAsLongAsTheyFit() {
    let stop = decision(limit: 57)
    for step in 0..<4 {
      stop.beginStep()
      for _ in 0..<4 {
        #expect(!stop.isDue, "step \(step)")
        hand.advance(2.5)
      }
      #expect(stop.flags(isGivenUp: false).isTimeOver == (step == 3))
      stop.endStep()
    }
    #expect(stop.isDue)
  }

  @Test func stepThatFitsIsNotGivenUpWhileItIsAsLongAsOthers() {
    let stop = decision(limit: 28.5)
    stop.beginStep()
    hand.advance(10)
    #expect(!stop.flags(isGivenUp: false).isTimeOver)
    stop.endStep()
    stop.beginStep()
    hand.advance(10)
    #expect(!stop.isDue)
    hand.advance(1)
    #expect(stop.isDue, "it takes longer than any before")
  }

  @Test func checkpointsThatWereTimedReplaceTheEstimate() {
    let stop = decision(limit: 100)
    stop.didSave(seconds: 30)
    stop.didSave(seconds: 20)
    hand.advance(39)
    #expect(!stop.isDue)
    hand.advance(2)
    #expect(stop.isDue, "2 x 30 s")
  }

  @Test func onlyTheFirstRankLooksAtTheClock() throws {
    let due = try ThreadProcessGroup.run(count: 2) { group in
      let stop = StopDecision(
        group, StopRequest(), JobClock(), timeLimit: 1, stateBytes: 1_000_000)
      if group.rank == 1 {
        #expect(!stop.isDue)
        #expect(!stop.flags(isGivenUp: false).isTimeOver)
      }
      try group.barrier()
      if group.rank == 0 { #expect(stop.isDue) }
      try group.barrier()
      return stop.isDue
    }
    #expect(due == [true, true])
  }
}
