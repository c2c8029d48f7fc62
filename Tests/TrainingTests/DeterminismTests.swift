import TestSupport
import Testing

@testable import Training

/// Runs whose bits do not depend on the number of ranks.
@Suite struct DeterminismTests {
  private let tiny: TinyRun
  /// Eight micro-batches a step.
  private let settings = ["parallelism.deterministic=true", "parallelism.microBatchSize=2"]

  init() throws { tiny = try TinyRun() }

  private func run(
    _ output: String, ranks: Int?, stopAfter: Int = .max, _ set: [String] = []
  ) throws -> RunOutcome {
    try tiny.finish {
      $0 = TinyRun.Options(
        output: output, ranks: ranks, stopAfter: stopAfter, set: settings + set)
    }
  }

  @Test(arguments: ["none", "optimizer", "gradients"])
  func anyNumberOfRanksGivesTheSameBits(sharding: String) throws {
    let alone = try run("alone", ranks: nil)
    for ranks in [1, 2, 4, 8] {
      let several = try run(
        "\(sharding)-\(ranks)", ranks: ranks,
        ["parallelism.sharding=\(sharding)", "parallelism.bucketBytes=\(1000 * ranks)"])
      #expect(try several.hash() == alone.hash(), "\(ranks) ranks")
      #expect(try several.metrics() == alone.metrics(), "\(ranks) ranks")
    }
  }

  @Test func resumesOnAnotherNumberOfRanks() throws {
    let whole = try run("whole", ranks: nil)
    for (ranks, sharding) in [(4, "gradients"), (1, "none"), (8, "optimizer"), (2, "none")] {
      let set = ["parallelism.sharding=\(sharding)"]
      let steps = try tiny.resolvedStep(of: "parts") + 3
      _ = try run("parts", ranks: ranks, stopAfter: steps, set)
    }
    let parts = try run("parts", ranks: nil)
    #expect(try parts.hash() == whole.hash())
    #expect(try parts.metrics() == whole.metrics())
  }

  @Test func otherNumbersOfRanksAreRefusedWithThoseThatWork() throws {
    let failure = try tiny.failure {
      $0.set = ["parallelism.deterministic=true", "parallelism.globalBatchSize=24"]
      $0.ranks = 2
    }
    #expect(failure?.code == .badInput)
    #expect(
      failure?.text.contains(
        "a step of 6 micro-batches has the same bits on 1, 3, 6 ranks, not on 2")
        == true, "\(failure?.text ?? "")")
  }

  @Test(
    arguments: [
      ("parallelism.threadsPerRank=auto", "threadsPerRank"),
      ("parallelism.gradientExchange=mpi", "gradientExchange"),
      ("parallelism.wire=bfloat16", "wire"),
    ])
  func whatCannotBeDeterministicIsRefused(set: String, key: String) throws {
    let failure = try tiny.failure { $0.set = settings + [set] }
    #expect(failure?.code == .badInput)
    #expect(failure?.text.contains("needs parallelism.\(key)") == true, "\(failure?.text ?? "")")
  }
}

extension TinyRun {
  /// Steps of the newest checkpoint of a run; 0 without one.
  fileprivate func resolvedStep(of output: String) throws -> Int {
    let outcome = RunOutcome(output: folder.file(output), ranks: [])
    guard let newest = outcome.checkpoints.first else { return 0 }
    return try CheckpointSummary(path: newest).step
  }
}
