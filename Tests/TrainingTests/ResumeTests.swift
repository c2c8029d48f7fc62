import DataParallel
import Files
import NN
import TensorCore
import TestSupport
import Testing

@testable import Training

@Suite struct ResumeTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  @Test func metricsOfAStep() throws {
    let metrics = try tiny.finish().metrics()
    #expect(metrics.map(\.step) == Array(1...TinyRun.totalSteps))
    #expect(
      metrics[0].keys == [
        "step", "epoch", "samplesSeen", "loss", "lossReconstruction", "lossAlignment",
        "tokenAccuracy", "gradientNorm", "learningRate", "imagesPerSecond", "stepMilliseconds",
        "dataWaitMilliseconds", "exposedCommunicationMilliseconds",
      ])
    let last = metrics[TinyRun.totalSteps - 1]
    #expect(last["epoch"] == 2)
    #expect(last["samplesSeen"] == 192)
    let sum = try #require(last["lossReconstruction"]) + 2 * #require(last["lossAlignment"])
    #expect(last["loss"] == sum)
  }

  @Test(arguments: [nil, 2] as [Int?], [1, 5, 6, 11])
  func stoppedAndResumedIsTheSameRun(ranks: Int?, stop: Int) throws {
    let straight = try tiny.finish { ($0.output, $0.ranks) = ("straight", ranks) }
    try tiny.finish { ($0.output, $0.ranks, $0.stopAfter) = ("parts", ranks, stop) }
    let resumed = try tiny.finish { ($0.output, $0.ranks) = ("parts", ranks) }
    #expect(try resumed.metrics() == straight.metrics())
    #expect(try resumed.hash() == straight.hash())
    #expect(resumed.ranks.map(\.parameters) == straight.ranks.map(\.parameters))
    #expect(
      resumed.notes[0].hasPrefix(
        "resuming \(resumed.output)/step-\(padded(stop)): \(stop) steps done; each rank has read "))
    #expect(resumed.notes.count == 1)
  }

  /// What a guard judges by is part of the state.
  @Test func guardsGoOnJudging() throws {
    let set = [
      "guards.outlierZScore=0.01", "guards.outlierWindow=8", "optimizer.learningRate=0",
      "optimizer.minimumLearningRate=0",
    ]
    let straight = try tiny.finish { ($0.output, $0.set) = ("straight", set) }
    #expect(try straight.metrics().suffix(4).contains { $0["skipped"] == 1 })
    try tiny.finish { ($0.output, $0.set, $0.stopAfter) = ("parts", set, 8) }
    let resumed = try tiny.finish { ($0.output, $0.set) = ("parts", set) }
    #expect(try resumed.metrics() == straight.metrics())
    #expect(try resumed.hash() == straight.hash())
  }

  /// In the background or not, at every step or at the last one alone.
  @Test(arguments: [nil, 2] as [Int?])
  func savingChangesNoBits(ranks: Int?) throws {
    let straight = try tiny.finish { ($0.output, $0.ranks) = ("straight", ranks) }
    for isAsynchronous in [true, false] {
      let saving = try tiny.finish {
        ($0.output, $0.ranks) = ("\(isAsynchronous)", ranks)
        $0.set = ["checkpoint.everySteps=1", "checkpoint.asynchronous=\(isAsynchronous)"]
      }
      #expect(try saving.metrics() == straight.metrics())
      #expect(try saving.hash() == straight.hash())
    }
  }

  /// The draws do matter: without them the equality above would prove little.
  @Test func dropPathAndSeedChangeTheRun() throws {
    let plain = try tiny.finish { $0.output = "plain" }.hash()
    let whole = try tiny.finish { ($0.output, $0.set) = ("whole", ["model.dropPathRate=0"]) }
    let other = try tiny.finish { ($0.output, $0.set) = ("other", ["run.seed=8"]) }
    #expect(Set([plain, try whole.hash(), try other.hash()]).count == 3)
  }

  @Test func resumesOnAnotherNumberOfRanks() throws {
    let straight = try tiny.finish { $0.output = "straight" }
    try tiny.finish { ($0.output, $0.ranks, $0.stopAfter) = ("parts", 4, 6) }
    let resumed = try tiny.finish { ($0.output, $0.ranks) = ("parts", 2) }
    try expectClose(resumed.metrics(), straight.metrics())
  }

  @Test func metricsAreCutAfterTheCheckpoint() throws {
    let straight = try tiny.finish { $0.output = "straight" }
    let first = try tiny.finish { $0.set = ["checkpoint.everySteps=4", "checkpoint.keepLast=9"] }
    #expect(first.checkpoints.count == 3)
    try Files.removeTree("\(first.output)/step-00000012")
    // What a kill in the middle of a write leaves.
    let metrics = try AppendingFile(path: "\(first.output)/metrics.jsonl")
    try metrics.append("{\"step\":13,\"epoch\":2.1,\"loss\":3.")
    try metrics.close()
    let resumed = try tiny.finish()
    #expect(try resumed.metrics() == straight.metrics())
    #expect(try resumed.hash() == straight.hash())
  }

  @Test func halfWrittenLineBeforeTheCheckpointGoes() throws {
    let outcome = try tiny.finish { $0.stopAfter = 6 }
    let path = "\(outcome.output)/metrics.jsonl"
    let text = try Files.readText(path)
    try Files.write(Array((text + "{\"step\":5,\"lo").utf8), to: path)
    #expect(try tiny.finish().metrics().map(\.step) == Array(1...12))
  }

  @Test func newRunDropsMetricsOfAnOlderOne() throws {
    let outcome = try tiny.finish()
    for path in outcome.checkpoints { try Files.removeTree(path) }
    #expect(try tiny.finish { $0.stopAfter = 3 }.metrics().map(\.step) == [1, 2, 3])
  }

  // MARK: Damaged checkpoints

  private func damagedNewest() throws -> (RunOutcome, newest: String) {
    let outcome = try tiny.finish { $0.set = ["checkpoint.everySteps=6"] }
    let newest = try #require(outcome.checkpoints.first)
    #expect(newest.hasSuffix("step-00000012"))
    try TemporaryFolder.flipByte(of: "\(newest)/checkpoint.h5", at: 3000)
    return (outcome, newest)
  }

  @Test func autoPassesOverADamagedOne() throws {
    let (first, newest) = try damagedNewest()
    let metrics = try first.metrics()
    let resumed = try tiny.finish()
    try #require(resumed.notes.count == 2)
    #expect(resumed.notes[0].hasPrefix("warning: \(newest) is damaged"))
    #expect(resumed.notes[1].contains("step-00000006: 6 steps done"))
    #expect(try resumed.metrics() == metrics)
    #expect(throws: Never.self) { try CheckpointReader(path: newest) }
  }

  @Test func autoPassesOverAnIncompleteOne() throws {
    let (_, newest) = try damagedNewest()
    try Files.remove("\(newest)/manifest.json")
    let resumed = try tiny.finish()
    #expect(resumed.notes.first?.hasPrefix("warning: \(newest) is not a complete") == true)
    #expect(resumed.notes.count == 2)
  }

  @Test func damagedPathIsRefused() throws {
    let (_, newest) = try damagedNewest()
    let failure = try #require(try tiny.failure { $0.resume = .path(newest) })
    #expect(failure.code == .badInput)
    #expect(failure.text.contains("\(newest) is damaged (checksum of checkpoint.h5 differs)"))
  }

  /// A run that goes on from an older one would leave checkpoints of two runs in one folder.
  @Test func pathMustBeTheNewestInItsRun() throws {
    let first = try tiny.finish { $0.set = ["checkpoint.everySteps=6"] }
    let older = "\(first.output)/step-00000006"
    let failure = try #require(try tiny.failure { $0.resume = .path(older) })
    #expect(failure.code == .badInput)
    #expect(failure.text.contains("has a checkpoint of step 12, after that of \(older)"))
    #expect(failure.text.contains("checkpoint prune \(first.output) --after 6"))
    // Another run may go on from it.
    let other = try tiny.finish {
      ($0.output, $0.resume, $0.stopAfter) = ("other", .path(older), 8)
    }
    #expect(try other.metrics().map(\.step) == [7, 8])
    try Files.removeTree("\(first.output)/step-00000012")
    let resumed = try tiny.finish { ($0.resume, $0.stopAfter) = (.path(older), 8) }
    #expect(try resumed.metrics().map(\.step) == Array(1...8))
  }

  @Test func allDamagedIsAnEnd() throws {
    let (first, newest) = try damagedNewest()
    let older = "\(first.output)/step-00000006"
    try Files.truncate("\(older)/part-0000.h5", toSize: 3000)
    let failure = try #require(try tiny.failure())
    #expect(failure.code == .badInput)
    for text in [newest, older, "no checkpoint in \(first.output) can be used"] {
      #expect(failure.text.contains(text), "\(failure.text)")
    }
    #expect(first.checkpoints.count == 2, "nothing is lost")
  }

  @Test func neverRefusesToOverwrite() throws {
    try tiny.finish()
    let failure = try #require(try tiny.failure { $0.resume = .never })
    #expect(failure.code == .badInput)
    #expect(failure.text.hasPrefix("run.output: \(tiny.output) holds checkpoints"))
    try tiny.finish { ($0.output, $0.resume) = ("fresh", .never) }
  }

  @Test func otherModelIsRefusedWithTheKey() throws {
    try tiny.finish { $0.stopAfter = 3 }
    let failure = try #require(try tiny.failure { $0.set = ["model.depth=1"] })
    #expect(failure.code == .badInput)
    #expect(failure.text.hasPrefix("model.depth: is 1 here but 2 in "))
  }

  @Test func moreEpochsGoOn() throws {
    try tiny.finish()
    let longer = try tiny.finish { $0.set = ["schedule.epochs=3"] }
    #expect(try longer.metrics().map(\.step) == Array(1...18))
  }

  // MARK: New runs from old weights

  @Test func initializeFromTakesWeightsOnly() throws {
    let first = try tiny.finish { $0.output = "first" }
    var options = TinyRun.Options(output: "second")
    options.set = ["run.initializeFrom=\"\(first.checkpoints[0])\"", "run.seed=9"]
    let run = try TrainingRun(try tiny.resolve(options), group: SingleProcessGroup())
    let point = try Resume(run).restore(.auto)
    #expect(point.step == 0)
    #expect(point.notes == ["starting anew from the weights of \(first.checkpoints[0])"])
    #expect(TinyRun.hash(run.optimizer.parameters) == first.ranks[0].parameters)
    for moments in [run.optimizer.optimizer.firstMoments, run.optimizer.optimizer.secondMoments] {
      #expect(moments.memory[0].allSatisfy { $0 == 0 })
    }
    let second = try tiny.finish { $0 = options }
    #expect(try second.metrics().map(\.step) == Array(1...12))
    // Resumed, the run goes on from its own checkpoint.
    #expect(try tiny.finish { $0 = options }.notes[0].hasPrefix("resuming \(second.output)/"))
  }

  @Test func initializeFromNothingIsAnError() throws {
    let failure = try tiny.failure { $0.set = ["run.initializeFrom=/nowhere/step-00000001"] }
    #expect(failure?.code == .badInput)
    #expect(failure?.text.contains("/nowhere/step-00000001 does not exist") == true)
  }

  @Test func keepsTheLastCheckpoints() throws {
    let outcome = try tiny.finish { $0.set = ["checkpoint.everySteps=2", "checkpoint.keepLast=3"] }
    #expect(
      outcome.checkpoints.map { $0.suffix(13) } == [
        "step-00000012", "step-00000010", "step-00000008",
      ])
    #expect(
      TemporaryFolder.names(in: outcome.output).filter { !$0.hasPrefix("events.out") } == [
        "configuration.yaml", "metrics.jsonl", "run.lock", "step-00000008", "step-00000010",
        "step-00000012",
      ])
  }
}

func padded(_ step: Int) -> String {
  let digits = String(step)
  return String(repeating: "0", count: 8 - digits.count) + digits
}
