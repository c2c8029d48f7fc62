import Interfaces
import NN
import TensorCore
import TestSupport
import Testing

@testable import DataParallel

/// The exchange between threads, against one process that adds up everything itself.
@Suite(.serialized, .timeLimit(.minutes(1))) struct DistributedOptimizerTests {
  /// Another order of summation moves a mean of up to 24 gradients below 1 by less than
  /// 24 x 2^-24, clipped to a fifth of that; by lr / epsilon = 1 it moves a parameter at most twice
  /// that a step, and rounding of parameters below 2 adds 2^-24 a few times.
  static let tolerance: Float = 4e-6
  /// Of norms: that of the sums, relative.
  static let normTolerance = 1e-5

  private func run(_ scenario: ExchangeScenario, _ hosts: [Int]) throws
    -> [ExchangeScenario.Outcome]
  {
    try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) { try scenario.run($0) }
  }

  private func expectAgreement(
    _ outcomes: [ExchangeScenario.Outcome], _ twin: ExchangeScenario.Outcome, _ comment: Comment
  ) {
    for outcome in outcomes {
      #expect(sameBits(outcome.parameters, outcomes[0].parameters), comment)
      #expect(outcome.norms == outcomes[0].norms, comment)
    }
    let (own, tolerance) = (outcomes[0], DistributedOptimizerTests.tolerance)
    #expect(largestDifference(own.parameters, twin.parameters) < tolerance, comment)
    #expect(largestDifference(own.firstMoments, twin.firstMoments) < tolerance, comment)
    #expect(largestDifference(own.secondMoments, twin.secondMoments) < tolerance, comment)
    for (norm, expected) in zip(own.norms, twin.norms) {
      #expect(
        abs(norm - expected) < DistributedOptimizerTests.normTolerance * expected, comment)
    }
  }

  /// All kinds of exchange.
  @Test(arguments: ExchangeModel.layouts)
  func agreesWithOneProcess(hosts: [Int]) throws {
    var scenario = ExchangeScenario(microBatches: 3 * hosts.count)
    let twin = try scenario.twin()
    for sharding in Sharding.allCases {
      for kind in ExchangeKind.allCases {
        for sharesMemory in [true, false] {
          scenario.options.sharding = sharding
          scenario.options.kind = kind
          scenario.options.sharesMemory = sharesMemory
          scenario.options.overlaps.toggle()
          scenario.options.bucketBytes = 8192
          expectAgreement(
            try run(scenario, hosts), twin, "\(scenario.options.summary)")
        }
      }
    }
  }

  /// The same bits in all layouts, worlds, shardings and sizes of buckets: those of one process
  /// that adds up in the one order.
  @Test(arguments: Sharding.allCases, [8, 24])
  func deterministicBits(sharding: Sharding, microBatches: Int) throws {
    var scenario = ExchangeScenario(microBatches: microBatches)
    scenario.options.isDeterministic = true
    scenario.options.sharding = sharding
    let twin = try scenario.twin()
    let allowed = MicroBatchOrder.deterministicWorldSizes(microBatches: microBatches)
    for hosts in ExchangeModel.layouts where allowed.contains(hosts.count) {
      for bucketBytes in ExchangeModel.bucketSizes {
        for sharesMemory in [true, false] {
          scenario.options.bucketBytes = bucketBytes
          scenario.options.sharesMemory = sharesMemory
          scenario.options.overlaps.toggle()
          let outcomes = try run(scenario, hosts)
          #expect(
            outcomes[0].hasSameBits(as: twin), "\(hosts), \(scenario.options.summary)")
          for other in outcomes {
            #expect(sameBits(other.parameters, twin.parameters))
            #expect(other.norms == twin.norms)
          }
        }
      }
    }
  }

  /// The bits do not depend on when parameters are complete, with few slots and with many.
  @Test(arguments: ExchangeModel.Order.allCases, Sharding.allCases)
  func orderOfCompletion(order: ExchangeModel.Order, sharding: Sharding) throws {
    var scenario = ExchangeScenario(microBatches: 8, order: order)
    scenario.options.isDeterministic = true
    scenario.options.sharding = sharding
    let twin = try scenario.twin()
    for hosts in [[0], [0, 0], [0, 0, 1, 1], [0, 1, 0, 1], [0, 1]] {
      for bucketBytes in ExchangeModel.bucketSizes {
        scenario.options.bucketBytes = bucketBytes
        let outcomes = try run(scenario, hosts)
        #expect(outcomes[0].hasSameBits(as: twin), "\(hosts), \(bucketBytes)")
        scenario.options.kind = .mpi
        scenario.options.isDeterministic = false
        expectAgreement(try run(scenario, hosts), twin, "\(hosts), \(bucketBytes), mpi")
        scenario.options.kind = .hierarchical
        scenario.options.isDeterministic = true
      }
    }
  }

  /// A parameter that backward does not reach has no gradient, not that of the step before.
  @Test(arguments: Sharding.allCases, ["mask_token", "mlp.weight", "head.bias"])
  func unreachedParametersCountAsZero(sharding: Sharding, name: String) throws {
    for isDeterministic in [true, false] {
      var scenario = ExchangeScenario(microBatches: 8, steps: 3, skipped: name)
      scenario.options.isDeterministic = isDeterministic
      scenario.options.sharding = sharding
      scenario.options.bucketBytes = 8192
      let twin = try scenario.twin()
      for hosts in [[0], [0, 0], [0, 1], [0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0]] {
        let outcomes = try run(scenario, hosts)
        if isDeterministic { #expect(outcomes[0].hasSameBits(as: twin), "\(hosts)") }
        expectAgreement(outcomes, twin, "\(hosts)")
      }
    }
  }

  /// Saved on one layout and loaded on another, training goes on as if nothing had happened.
  @Test(arguments: ExchangeModel.layouts.filter { [1, 2, 4, 8].contains($0.count) })
  func stateMovesToAnyLayout(hosts: [Int]) throws {
    var scenario = ExchangeScenario(microBatches: 8, steps: 2)
    scenario.options.isDeterministic = true
    scenario.options.bucketBytes = 8192
    let half = try scenario.twin()
    scenario.steps = 3
    let twin = try scenario.twin()
    for sharding in Sharding.allCases {
      for sharesMemory in [true, false] {
        scenario.options.sharding = sharding
        scenario.options.sharesMemory = sharesMemory
        let outcomes = try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) {
          [scenario] group in
          let optimizer = try scenario.makeOptimizer(group)
          // What others have now must not matter.
          _ = try scenario.run(optimizer, step: 0)
          try ExchangeScenario.load(half, into: optimizer)
          let loaded = try scenario.outcome(of: optimizer, half.norms, group)
          #expect(loaded.hasSameBits(as: half))
          let norm = try scenario.run(optimizer, step: 2)
          return try scenario.outcome(of: optimizer, half.norms + [norm], group)
        }
        #expect(outcomes[0].hasSameBits(as: twin), "\(scenario.options.summary)")
      }
    }
  }

  /// Where one rank updates everything there is, it alone saves it.
  @Test(arguments: Sharding.allCases, [true, false])
  func oneRankHasAllMoments(sharding: Sharding, sharesMemory: Bool) throws {
    try ThreadProcessGroup.run(count: 3) { group in
      let tree = ParameterTree()
      let parameter = tree.add("only", [5], .constant(1))
      var options = ExchangeOptions()
      options.sharding = sharding
      options.sharesMemory = sharesMemory
      let stallGuard = StallGuard()
      stallGuard.limit(to: 5)
      stallGuard.enter(step: 1, isFirst: false)
      let optimizer = try DistributedOptimizer(
        tree, ExchangeScenario.configuration, options, microBatches: 1, group: group,
        stallGuard: stallGuard, pool: ThreadPool(threadCount: 1))
      optimizer.beginStep()
      optimizer.beginMicroBatch(0)
      optimizer.sink.accumulate(parameter) { memory, _ in
        memory.update(repeating: 1, count: parameter.count)
      }
      optimizer.sink.didComplete(parameter)
      try optimizer.endMicroBatch()
      try optimizer.finishExchange()
      let summary = try optimizer.summarize(gradientCount: 3)
      #expect(abs(summary.norm - 5.0.squareRoot()) < 1e-6)
      _ = try optimizer.update(summary, gradientCount: 3, learningRate: 0.1, step: 1)
      #expect(optimizer.savedRanges.count { !$0.isEmpty } == 1)
      let moments = try ExchangeScenario.moments(of: optimizer, group)
      // (1 - beta1) of a mean gradient of 1.
      #expect(moments.first[..<parameter.count].allSatisfy { abs($0 - 0.1) < 1e-6 })
      try group.barrier()
    }
  }

  @Test func namesOfWhatWasChosen() throws {
    let texts = try ThreadProcessGroup.run(count: 3, hosts: [0, 1, 1]) { group in
      var scenario = ExchangeScenario(microBatches: 3)
      scenario.options.sharding = .gradients
      scenario.options.isDeterministic = true
      let optimizer = try scenario.makeOptimizer(group)
      try group.barrier()
      return optimizer.summary
    }
    #expect(
      texts[0]
        == "exchange hierarchical over 2 + 1 ranks a host, wire float32, sharding gradients, one copy "
        + "of the parameters a host, 1 buckets, beside backward, deterministic")
    #expect(Set(texts).count == 1)
  }
}
