import Files
import Interfaces
import NN
import TensorCore
import TestSupport
import Testing

@testable import DataParallel

/// What bfloat16 on the wire has rounded away belongs to the state of a rank.
@Suite struct CheckpointRoundingTests {
  private static func scenario(_ sharding: Sharding) -> ExchangeScenario {
    var scenario = ExchangeScenario(microBatches: 4, steps: 3)
    scenario.options.wire = .bfloat16
    scenario.options.sharding = sharding
    scenario.options.bucketBytes = 8192
    return scenario
  }

  /// - Returns: Whether rounding errors began anew, and the outcome of the steps from the third on.
  private func resume(
    _ scenario: ExchangeScenario, hosts: [Int], from path: String
  ) throws -> [(forgets: Bool, outcome: ExchangeScenario.Outcome)] {
    try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) { group in
      let optimizer = try scenario.makeOptimizer(group)
      // What it has now must not matter.
      _ = try scenario.run(optimizer, step: 0)
      let report = try CheckpointReader(path: path).load(into: optimizer, [], rank: group.rank)
      try optimizer.didLoad()
      let norm = try scenario.run(optimizer, step: 2)
      return (
        report.forgetsRoundingErrors, try scenario.outcome(of: optimizer, [norm], group)
      )
    }
  }

  @Test(arguments: Sharding.allCases)
  func roundingErrorsGoOn(sharding: Sharding) throws {
    let folder = try TemporaryFolder("rounding")
    let (scenario, hosts) = (Self.scenario(sharding), [0, 0, 1, 1])
    let straight = try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) { group in
      let optimizer = try scenario.makeOptimizer(group)
      for step in 0..<2 { _ = try scenario.run(optimizer, step: step) }
      let saver = CheckpointSaver(
        CheckpointSaver.Options(folder: folder.path), optimizer, buffers: [], group: group,
        pool: ThreadPool(threadCount: 1))
      try saver.begin(SavedRun.header)
      while !saver.isIdle {
        while try group.allReduceMaximum([saver.isWriting ? 1 : 0])[0] > 0 {}
        if let failure = saver.failure { throw failure }
        _ = try saver.advance()
      }
      let norm = try scenario.run(optimizer, step: 2)
      return try scenario.outcome(of: optimizer, [norm], group)
    }
    let path = folder.file("step-00000012")
    let resumed = try resume(scenario, hosts: hosts, from: path)
    for (rank, end) in resumed.enumerated() {
      #expect(!end.forgets)
      #expect(end.outcome.hasSameBits(as: straight[rank]), "rank \(rank)")
    }
    // Other ranks have other errors: theirs are of no use.
    let fewer = try resume(scenario, hosts: [0, 1], from: path)
    #expect(fewer.map(\.forgets) == [true, true])
    #expect(!fewer[0].outcome.hasSameBits(as: straight[0]))
  }
}
