import DataParallel
import Files
import Foundation
import Interfaces
import TestSupport
import Testing

@testable import Training

/// What sums in another order may change of a loss in a few steps, relative.
private let orderTolerance = 1e-4

/// Runs that saw the same batches: losses and norms within the tolerance, the rest exactly.
func expectClose(
  _ metrics: [MetricsLine], _ reference: [MetricsLine],
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  try #require(
    metrics.map(\.lastingKeys) == reference.map(\.lastingKeys), sourceLocation: sourceLocation)
  for (line, expected) in zip(metrics, reference) {
    for (key, text) in expected.fields where !MetricsLine.timings.contains(key) {
      let (found, wanted) = (line[key] ?? .nan, Double(text) ?? .nan)
      // A patch whose two best tokens are all but equal may fall to the other one.
      let limit = key.hasSuffix("ccuracy") ? 0.05 : orderTolerance * abs(wanted)
      #expect(
        abs(found - wanted) <= limit, "\(key) of step \(line.step)", sourceLocation: sourceLocation)
    }
  }
}

@Suite struct RanksTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  @Test func sameBatchOnAnyNumberOfRanks() throws {
    let alone = try tiny.finish { $0.output = "alone" }
    for ranks in [1, 2, 4] {
      let several = try tiny.finish { ($0.output, $0.ranks) = ("ranks\(ranks)", ranks) }
      try expectClose(several.metrics(), alone.metrics())
      #expect(Set(several.ranks.map(\.parameters)).count == 1, "\(ranks) ranks end bit-equal")
    }
  }

  @Test func oneThreadRankIsOneProcess() throws {
    let alone = try tiny.finish { $0.output = "alone" }
    let thread = try tiny.finish { ($0.output, $0.ranks) = ("thread", 1) }
    #expect(try alone.metrics() == thread.metrics())
    #expect(try alone.hash() == thread.hash())
  }

  @Test func repeatedRunsHaveTheSameBits() throws {
    let runs = try (0..<2).map { number in
      try tiny.finish { ($0.output, $0.ranks) = ("run\(number)", 4) }
    }
    #expect(try runs[0].metrics() == runs[1].metrics())
    #expect(try runs[0].hash() == runs[1].hash())
  }

  @Test func microBatchesAreAveragedNotSummed() throws {
    let small = try tiny.finish { $0.output = "small" }
    let large = try tiny.finish {
      ($0.output, $0.set) = ("large", ["parallelism.microBatchSize=16"])
    }
    try expectClose(large.metrics(), small.metrics())
  }

  @Test func ranksThatDoNotDivideTheBatchSaySo() throws {
    let ends = try tiny.end { $0.ranks = 3 }.ranks
    #expect(ends.map { $0.agreed?.code } == [.badInput, .badInput, .badInput])
    #expect(
      ends[0].agreed?.text == "parallelism.globalBatchSize: 16 is 4 micro-batches of 4, which 3 "
        + "ranks do not divide; use 1, 2, 4 ranks, or change the batch")
  }

  // MARK: Held-out loss

  private func heldOut(batches: Int, ranks: Int?) throws -> [MetricsLine] {
    try tiny.finish {
      ($0.output, $0.ranks) = ("held-out-\(batches)-\(ranks ?? 0)", ranks)
      $0.set = [
        "data.validation=[\"\(tiny.validation)\"]", "logging.validateEverySteps=4",
        "logging.validationBatches=\(batches)",
      ]
    }.metrics()
  }

  @Test func heldOutLossIsThereWhenDue() throws {
    let metrics = try heldOut(batches: 8, ranks: nil)
    #expect(metrics.filter { $0["validationLoss"] != nil }.map(\.step) == [4, 8, 12])
    #expect(
      metrics[3].keys.suffix(4) == [
        "validationLoss", "validationLossReconstruction", "validationLossAlignment",
        "validationTokenAccuracy",
      ])
    // Looking does not change the run.
    let plain = try tiny.finish().metrics()
    #expect(metrics[11]["loss"] == plain[11]["loss"])
  }

  @Test(arguments: [8, 3])
  func heldOutLossIsTheSameOnAnyNumberOfRanks(batches: Int) throws {
    let alone = try heldOut(batches: batches, ranks: nil)
    for ranks in [2, 4] { try expectClose(heldOut(batches: batches, ranks: ranks), alone) }
  }
}
