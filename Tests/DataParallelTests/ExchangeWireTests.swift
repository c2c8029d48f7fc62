import Interfaces
import NN
import TensorCore
import TestSupport
import Testing

@testable import DataParallel

/// Two-byte floats between hosts.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ExchangeWireTests {
  static let layouts = [[0, 1], [0, 0, 1, 1], [0, 1, 1, 1, 2], [0, 1, 2, 3]]

  private func scenario(_ hosts: [Int], _ sharding: Sharding, steps: Int) -> ExchangeScenario {
    var scenario = ExchangeScenario(microBatches: hosts.count, steps: steps)
    scenario.options.wire = .bfloat16
    scenario.options.sharding = sharding
    scenario.options.bucketBytes = 8192
    return scenario
  }

  private func run(_ scenario: ExchangeScenario, _ hosts: [Int]) throws
    -> [ExchangeScenario.Outcome]
  {
    try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) { try scenario.run($0) }
  }

  /// Rounding to 8 places errs by up to 2^-8 of a value, and happens to the parts of the hosts,
  /// together at most 1 in the mean, and to their sum.
  @Test(arguments: layouts, Sharding.allCases)
  func errorOfOneStep(hosts: [Int], sharding: Sharding) throws {
    let scenario = scenario(hosts, sharding, steps: 1)
    let (outcomes, twin) = (try run(scenario, hosts), try scenario.twin())
    for outcome in outcomes {
      #expect(sameBits(outcome.parameters, outcomes[0].parameters))
      #expect(outcome.norms == outcomes[0].norms)
    }
    // Of the mean gradient, unclipped: norms are far above 3.
    let scale = Float(twin.norms[0] / 3) * 10
    let error = largestDifference(
      outcomes[0].firstMoments.map { $0 * scale }, twin.firstMoments.map { $0 * scale })
    #expect(error > 0x1p-13, "nothing was rounded")
    #expect(error < 2 * 0x1p-8)
    // The norm, by which they are clipped, errs far less, as errors of many values cancel.
    #expect(abs(outcomes[0].norms[0] / twin.norms[0] - 1) < 0x1p-12)
  }

  /// Several steps: the same bits on all ranks.
  @Test(arguments: layouts, Sharding.allCases)
  func ranksStayTogether(hosts: [Int], sharding: Sharding) throws {
    let scenario = scenario(hosts, sharding, steps: 3)
    let (outcomes, twin) = (try run(scenario, hosts), try scenario.twin())
    for outcome in outcomes { #expect(sameBits(outcome.parameters, outcomes[0].parameters)) }
    #expect(
      largestDifference(outcomes[0].parameters, twin.parameters)
        < ExchangeWireTests.tolerance(norms: twin.norms))
  }

  /// Of parameters: a mean gradient errs by up to 2 x 2^-8, and by as much that is left of the step
  /// before, and is clipped to a norm of 3; the update passes on at most lr / epsilon = 1 of that.
  static func tolerance(norms: [Double]) -> Float {
    norms.reduce(0) { $0 + Float(3 / $1) * 4 * 0x1p-8 }
  }

  /// Gradients that never change: with error feedback their mean over many steps is right, without
  /// it each step would have the same error.
  @Test(arguments: Sharding.allCases)
  func errorFeedback(sharding: Sharding) throws {
    let (hosts, steps) = ([0, 1, 1], 40)
    let scenario = scenario(hosts, sharding, steps: steps)
    let means = try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) { group in
      try meanOfConstantGradients(scenario, group, steps: steps)
    }
    // Where nothing is sharded, rank 0 has all sums on its own.
    let parts = sharding == .none ? [means[0]] : means
    let mean = means[0].indices.map { index in parts.reduce(0.0) { $0 + $1[index] } }
    let rows = (0..<hosts.count).map { ExchangeModel.gradients(step: 0, microBatch: $0) }
    var (worst, total, rounded) = (0.0, 0.0, 0.0)
    for index in mean.indices {
      let exact = rows.reduce(0.0) { $0 + Double($1[index]) } / Double(hosts.count)
      let error = abs(mean[index] - exact)
      (worst, total) = (max(worst, error), total + error)
      let once = Float(exact * Double(hosts.count))
      var residual: Float = 0
      var wire: UInt16 = 0
      BFloat16Kernel.encode([once], residual: &residual, into: &wire, count: 1)
      rounded += abs(Double(residual)) / Double(hosts.count)
    }
    // What is left of two roundings of sums below 4, once for all steps; and Float's own rounding.
    #expect(worst <= 2 * 0x1p-7 / Double(hosts.count * steps) + 0x1p-22)
    // The sum's rounding alone would leave far more.
    #expect(total < rounded / 5)
    #expect(rounded > 0)
  }

  /// - Returns: The mean gradient over all steps, where this rank updates; zero elsewhere.
  private func meanOfConstantGradients(
    _ scenario: ExchangeScenario, _ group: any ProcessGroup, steps: Int
  ) throws -> [Double] {
    let optimizer = try scenario.makeOptimizer(group)
    var mean = [Double](repeating: 0, count: optimizer.tree.flatCount)
    for _ in 0..<steps {
      optimizer.beginStep()
      try scenario.runMicroBatches(optimizer, step: 0)
      try optimizer.finishExchange()
      let sums = try #require(optimizer.sink as? GradientMemory).sums
      for (range, memory) in zip(sums.ranges, sums.memory) {
        for (place, value) in zip(range, memory) {
          mean[place] += Double(value) / Double(scenario.microBatches * steps)
        }
      }
      _ = try optimizer.summarize(gradientCount: scenario.microBatches)
      try optimizer.hostBarrier()
    }
    try group.barrier()
    return mean
  }
}
