import DataParallel
import Interfaces
import Models
import NN
import ShardedData
import TensorCore
import TestSupport
import Testing

@testable import Training

/// What the trainer owes to any method, seen through `ProbeMethod`.
@Suite struct ProbeMethodTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func probe(
    _ output: String, ranks: Int? = nil, stopAfter: Int = .max, method: String = "{name: probe}",
    set: [String] = []
  ) throws -> RunOutcome {
    try tiny.end {
      $0 = TinyRun.Options(output: output, ranks: ranks, stopAfter: stopAfter, set: set)
      $0.yaml = tiny.yaml(method: method)
      $0.methods = [ProbeMethod.self]
    }
  }

  /// The buffer of the newest checkpoint, as a model of its own reads it.
  private func average(_ outcome: RunOutcome) throws -> [Float] {
    var options = TinyRun.Options()
    options.yaml = tiny.yaml(method: "{name: probe}")
    options.methods = [ProbeMethod.self]
    let run = try TrainingRun(try tiny.resolve(options), group: SingleProcessGroup())
    _ = try Resume(run).restore(.path(try #require(outcome.checkpoints.first)))
    return run.method.buffers[0].tensor.values
  }

  @Test func trains() throws {
    let metrics = try probe("run", set: ["schedule.epochs=10", "optimizer.learningRate=0.03"])
      .metrics()
    #expect(metrics.count == 60)
    #expect(metrics[0].keys[3...5] == ["loss", "lossPatches", "averageNorm"])
    let (first, last) = (try #require(metrics[0]["loss"]), try #require(metrics[59]["loss"]))
    #expect(last < 0.5 * first)
  }

  @Test(arguments: [nil, 2] as [Int?])
  func resumesWithItsBuffer(ranks: Int?) throws {
    let straight = try probe("straight", ranks: ranks)
    #expect(try probe("parts", ranks: ranks, stopAfter: 5).ranks.allSatisfy { $0.failure == nil })
    let resumed = try probe("parts", ranks: ranks)
    #expect(try resumed.metrics() == straight.metrics())
    #expect(try resumed.hash() == straight.hash())
    #expect(try average(resumed) == average(straight))
    #expect(try average(resumed).contains { $0 != 0 })
  }

  @Test func averagesOverTheGroup() throws {
    let alone = try average(probe("alone"))
    let several = try average(probe("several", ranks: 4))
    for (left, right) in zip(alone, several) { #expect(abs(left - right) < 1e-4) }
  }

  @Test func ownSectionIsStrict() throws {
    let wrong = try probe("run", method: "{name: probe, hiden: 3}").ranks[0].agreed
    #expect(wrong?.text == "method.hiden: there is no such key; did you mean hidden?")
    let invalid = try probe("run", method: "{name: probe, hidden: 0}").ranks[0].agreed
    #expect(invalid?.text == "method.hidden: must be at least 1")
    #expect(invalid?.code == .badInput)
  }

  // MARK: Ranks that differ

  @Test(arguments: [1, 2])
  func rankThatGoesAstrayIsNamed(interval: Int) throws {
    let outcome = try probe(
      "run", ranks: 4, method: "{name: probe, strayRank: 2}",
      set: ["parallelism.compareEverySteps=\(interval)", "parallelism.sharedParameters=false"])
    for end in outcome.ranks { #expect(end.agreed?.code == .internalError) }
    #expect(
      outcome.ranks[0].agreed?.text.hasPrefix("after step 4 the parameters of rank 2 differ")
        == true)
    #expect(outcome.checkpoints.isEmpty)
  }

  @Test func strayRankIsFoundBeforeTheLastCheckpoint() throws {
    let outcome = try probe(
      "run", ranks: 2, method: "{name: probe, strayRank: 1}",
      set: ["parallelism.compareEverySteps=0", "parallelism.sharedParameters=false"])
    let finder = try #require(outcome.ranks.compactMap(\.agreed).first { $0.isMine })
    #expect(finder.rank == 1)
    #expect(finder.text.contains("are not those that the last update wrote"))
    #expect(outcome.checkpoints.isEmpty)
  }

  /// A copy that ranks share is equally wrong for all of them: only who wrote it can tell.
  @Test func bitThatFlipsInTheSharedCopyIsFound() throws {
    let outcome = try probe("run", ranks: 4, method: "{name: probe, strayRank: 2}")
    for end in outcome.ranks { #expect(end.agreed?.code == .internalError) }
    let finder = try #require(outcome.ranks.compactMap(\.agreed).first { $0.isMine })
    #expect(finder.text.contains("are not those that the last update wrote"))
    #expect(outcome.checkpoints.isEmpty)
  }

  /// No update comes after it.
  @Test func bitThatFlipsAfterTheLastUpdateIsNotSaved() throws {
    let outcome = try probe("run", ranks: 4, stopAfter: 4, method: "{name: probe, strayRank: 2}")
    let finder = try #require(outcome.ranks.compactMap(\.agreed).first { $0.isMine })
    #expect(finder.text.contains("are not those that the last update wrote"))
    #expect(outcome.checkpoints.isEmpty)
  }

  // MARK: Numbers that are not finite

  /// A sample that the given rank of two takes in the given step (0-based), and no rank before.
  private func sample(ofRank rank: Int, step: Int) -> Int {
    DistributedSampler(count: TinyRun.imageCount, seed: 7).samples(
      step: step, microBatch: rank * 2, microBatchSize: 4, globalBatchSize: 16)[1].sample
  }

  @Test(arguments: [0, 1])
  func nanNamesTheRankThatHasIt(rank: Int) throws {
    let outcome = try probe(
      "run", ranks: 2,
      method: "{name: probe, poisonedSample: \(sample(ofRank: rank, step: 2))}")
    for end in outcome.ranks { #expect(end.agreed?.code == .failed) }
    #expect(outcome.ranks.map { $0.agreed?.isMine } == [rank == 0, rank == 1])
    #expect(
      outcome.ranks[rank].agreed?.text
        == "the loss of step 3 is not a finite number on rank \(rank); "
        + "resume from the last checkpoint with a lower optimizer.learningRate")
    #expect(try outcome.metrics().map(\.step) == [1, 2])
  }

  @Test func nanOnOneProcess() throws {
    let outcome = try probe(
      "run", method: "{name: probe, poisonedSample: \(sample(ofRank: 0, step: 0))}")
    #expect(outcome.ranks[0].agreed?.text.hasPrefix("the loss of step 1 is not a finite") == true)
    #expect(outcome.checkpoints.isEmpty)
  }

  @Test(arguments: [nil, 2] as [Int?])
  func absurdLearningRateEndsTheRun(ranks: Int?) throws {
    let outcome = try tiny.end {
      $0.ranks = ranks
      $0.set = ["optimizer.learningRate=1e30", "schedule.warmupEpochs=0"]
    }
    for end in outcome.ranks {
      #expect(end.agreed?.code == .failed)
    }
    #expect(outcome.ranks[0].agreed?.text.contains(" is not a finite number") == true)
    #expect(outcome.checkpoints.isEmpty)
  }
}

@Suite struct AgreementTests {
  @Test func allRanksLearnOfTheLowestFailure() {
    let failures = ThreadProcessGroup.run(count: 4) { group -> AgreedFailure? in
      do {
        try Agreement(group).run {
          if group.rank == 3 { throw CancellationError() }
          if group.rank == 1 { throw ConfigurationError("a.b", "is wrong") }
        }
        return nil
      } catch {
        return error as? AgreedFailure
      }
    }
    #expect(failures.map { $0?.code } == [.badInput, .badInput, .badInput, .badInput])
    #expect(failures.map { $0?.rank } == [1, 1, 1, 1])
    #expect(failures.map { $0?.isMine } == [false, true, false, false])
    #expect(failures[1]?.text == "a.b: is wrong")
  }

  @Test func codeIsTheLowestRanksOwn() {
    let codes = ThreadProcessGroup.run(count: 2) { group -> ExitCode? in
      do {
        try Agreement(group).run {
          if group.rank == 0 { throw TrainingError.nonFinite(quantity: "x", step: 1, rank: nil) }
          throw CollectiveError(operation: "x", reason: "y")
        }
        return nil
      } catch {
        return (error as? AgreedFailure)?.code
      }
    }
    #expect(codes == [.failed, .failed])
  }

  @Test func successGivesEveryRankItsOwnValue() throws {
    let values = try ThreadProcessGroup.run(count: 3) { group in
      try Agreement(group).run { group.rank * 10 }
    }
    #expect(values == [0, 10, 20])
  }

  @Test func commonErrorIsToldByRank0() {
    let mine = ThreadProcessGroup.run(count: 3) { group in
      Agreement(group).common(ConfigurationError("a", "b")).isMine
    }
    #expect(mine == [true, false, false])
  }
}
