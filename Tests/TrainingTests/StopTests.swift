import DataParallel
import Glibc
import Interfaces
import Models
import Synchronization
import TestSupport
import Testing

@testable import Training

/// Runs that one rank is asked to stop, at an exact place.
@Suite(.serialized) struct StopTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  /// Four ranks with four micro-batches a step.
  ///
  /// - Parameter pass: Forward passes of rank 1 after which it is asked to stop.
  private func run(
    _ output: String, pass: Int = -1, set: [String] = [], isAskedBefore: Bool = false
  ) throws -> RunOutcome {
    try tiny.end {
      $0 = TinyRun.Options(output: output, ranks: 4)
      $0.set = ["parallelism.microBatchSize=1", "parallelism.deterministic=true"] + set
      $0.yaml = tiny.yaml(method: "{name: probe}")
      $0.methods = [ProbeMethod.self]
      $0.request = { rank in
        let request = StopRequest()
        // Threads are used again.
        ProbeMethod.requests.withLock {
          $0[pthread_self()] = rank == 1 ? (request, pass) : nil
        }
        if isAskedBefore, rank == 2 { request.make() }
        return request
      }
    }
  }

  private func expect(
    _ outcome: RunOutcome, stoppedAfter step: Int, for reason: StopReason = .request
  ) throws {
    for end in outcome.ranks {
      #expect(end.failure == nil)
      #expect(end.outcome == .stopped(reason))
    }
    #expect(try outcome.metrics().map(\.step) == Array(0..<step).map { $0 + 1 })
    let checkpoints = outcome.checkpoints
    #expect(checkpoints.count == (step == 0 ? 0 : 1))
    if let path = checkpoints.first { #expect(try CheckpointSummary(path: path).step == step) }
  }

  /// Asked in the second of four micro-batches, or in the fourth.
  @Test(arguments: ["none", "optimizer", "gradients"])
  func unfinishedStepIsDroppedByAll(sharding: String) throws {
    let set = ["parallelism.sharding=\(sharding)"]
    let straight = try run("straight", set: set)
    #expect(straight.ranks.allSatisfy { $0.outcome == .finished })
    let stopped = try run("parts", pass: 3 * 4 + 1, set: set)
    try expect(stopped, stoppedAfter: 3)
    let again = try run("parts", pass: 2 * 4 + 3, set: set)
    for end in again.ranks { #expect(end.outcome == .stopped(.request)) }
    #expect(try again.metrics().count == 6, "the step is finished where it is nearly over")
    let resumed = try run("parts", set: set)
    #expect(resumed.ranks.allSatisfy { $0.outcome == .finished })
    #expect(try resumed.metrics() == straight.metrics())
    #expect(try resumed.hash() == straight.hash())
  }

  @Test(arguments: [false, true])
  func exchangeAfterBackwardOrByTheLibrary(overlap: Bool) throws {
    let outcome = try run(
      "run", pass: 5,
      set: [
        "parallelism.deterministic=false", "parallelism.gradientExchange=mpi",
        "parallelism.overlap=\(overlap)",
      ])
    try expect(outcome, stoppedAfter: 1)
  }

  @Test func requestInTheLastStepChangesNothing() throws {
    let outcome = try run("run", pass: 11 * 4 + 3)
    #expect(outcome.ranks.allSatisfy { $0.outcome == .finished && $0.failure == nil })
    #expect(try outcome.metrics().count == 12)
    #expect(try outcome.hash() == run("other").hash())
  }

  @Test func requestBeforeTheFirstStepSavesNothing() throws {
    try expect(try run("run", isAskedBefore: true), stoppedAfter: 0)
    // Nor does one where the newest checkpoint is of the last full step already.
    try expect(try run("run", pass: 2 * 4), stoppedAfter: 2)
    try expect(try run("run", isAskedBefore: true), stoppedAfter: 2)
    #expect(try run("run").hash() == run("other").hash())
  }

  /// One evaluation of 2 micro-batches a rank after each second step.
  @Test(arguments: [0, 1])
  func interruptedEvaluationIsLeftOut(micro: Int) throws {
    let set = [
      "data.validation=[\"\(tiny.validation)\"]", "logging.validateEverySteps=2",
      "logging.validationBatches=8",
    ]
    let straight = try run("straight", set: set)
    let stopped = try run("parts", pass: 4 * 4 + 2 + micro, set: set)
    try expect(stopped, stoppedAfter: 4)
    let metrics = try stopped.metrics()
    #expect(metrics[1].keys.contains("validationLoss"))
    // In its last micro-batch on rank 1 it is finished there, and mostly on the others.
    if micro == 0 { #expect(!metrics[3].keys.contains("validationLoss")) }
    #expect(try run("parts", set: set).hash() == straight.hash())
  }

  @Test func timeLimitIsTheFirstRanks() throws {
    try expect(try run("run", set: ["run.timeLimit=0:01"]), stoppedAfter: 0, for: .timeLimit)
    #expect(try run("run", set: ["run.timeLimit=1-0"]).hash() == run("other").hash())
  }

  @Test func failureGoesBeforeARequest() {
    struct Failure: Error {}
    let codes = ThreadProcessGroup.run(count: 3) { group -> ExitCode? in
      var flags = StepFlags()
      flags.isStopRequested = group.rank == 2
      do {
        _ = try Agreement(group).settle(
          group.rank == 1 ? .failure(Failure()) : .success(()), flags)
        return nil
      } catch {
        return (error as? AgreedFailure)?.code
      }
    }
    #expect(codes == [.internalError, .internalError, .internalError])
  }

  @Test func flagOfOneRankIsKnownToAll() throws {
    let all = try ThreadProcessGroup.run(count: 3) { group in
      var flags = StepFlags()
      flags.isGivenUp = group.rank == 2
      flags.isTimeOver = group.rank == 0
      return try Agreement(group).settle(.success(group.rank), flags)
    }
    for (rank, agreed) in all.enumerated() {
      #expect(agreed.value == rank)
      #expect(agreed.flags.values == [1, 0, 1, 0])
    }
  }
}
