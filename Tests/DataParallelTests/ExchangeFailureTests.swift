import Interfaces
import NN
import TensorCore
import TestSupport
import Testing

@testable import DataParallel

/// Ranks that cannot go on, and values that should not be there.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ExchangeFailureTests {
  static let layouts = [[0, 0], [0, 1], [0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1]]

  /// Where in a step a rank fails.
  struct Place: Sendable, CustomTestStringConvertible {
    let step: Int
    let microBatch: Int
    /// After so many parameters; nil: before the micro-batch is begun.
    let parameters: Int?

    var testDescription: String {
      "step \(step), micro-batch \(microBatch), after \(parameters.map(String.init) ?? "no") parameters"
    }
  }

  static let places = [
    Place(step: 0, microBatch: 0, parameters: nil), Place(step: 0, microBatch: 0, parameters: 0),
    Place(step: 0, microBatch: 1, parameters: 4), Place(step: 0, microBatch: 1, parameters: nil),
    Place(step: 1, microBatch: 0, parameters: nil), Place(step: 1, microBatch: 0, parameters: 3),
    Place(step: 1, microBatch: 1, parameters: 9), Place(step: 1, microBatch: 1, parameters: 11),
  ]

  private func runMicroBatches(
    _ scenario: ExchangeScenario, _ optimizer: DistributedOptimizer, step: Int, failing: Place
  ) throws {
    for (index, microBatch) in optimizer.microBatchIndices().enumerated() {
      let isHere = index == failing.microBatch
      if isHere, failing.parameters == nil { throw ExchangeModel.Interruption() }
      optimizer.beginMicroBatch(index)
      try ExchangeModel.backward(
        ExchangeModel.gradients(step: step, microBatch: microBatch), optimizer.tree,
        scenario.order, into: optimizer.sink, limit: isHere ? failing.parameters : nil)
      try optimizer.endMicroBatch()
      // As a loss does that turns out to be no number: nothing is missing.
      if isHere { throw ExchangeModel.Interruption() }
    }
  }

  /// One step in which some ranks fail; collective all the same.
  ///
  /// - Returns: The number of ranks that have failed, which all get to know.
  private func runFailingStep(
    _ scenario: ExchangeScenario, _ optimizer: DistributedOptimizer, _ group: any ProcessGroup,
    failing: Set<Int>, _ place: Place
  ) throws -> Double {
    optimizer.beginStep()
    var failed = [0.0]
    do {
      if failing.contains(group.rank) {
        try runMicroBatches(scenario, optimizer, step: place.step, failing: place)
      } else {
        try scenario.runMicroBatches(optimizer, step: place.step)
      }
    } catch is ExchangeModel.Interruption {
      failed = [1]
      optimizer.abandonStep()
    }
    try optimizer.finishExchange()
    try failed.withUnsafeMutableBufferPointer { try group.allReduceSum($0) }
    _ = try optimizer.summarize(gradientCount: scenario.microBatches)
    return failed[0]
  }

  private func expectAllReturn(
    _ scenario: ExchangeScenario, _ hosts: [Int], failing: Set<Int>, _ place: Place
  ) throws {
    let failed = try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) { group in
      let optimizer = try scenario.makeOptimizer(group)
      for step in 0..<place.step { _ = try scenario.run(optimizer, step: step) }
      let failed = try runFailingStep(
        scenario, optimizer, group, failing: failing, place)
      try group.barrier()
      return failed
    }
    #expect(
      failed == hosts.map { _ in Double(failing.count) },
      "\(hosts), \(scenario.options.summary), \(place.testDescription)")
  }

  /// The others do not wait for ever for a rank that fails, wherever it does.
  @Test(arguments: Sharding.allCases, ExchangeKind.allCases)
  func nobodyWaitsForARankThatFails(sharding: Sharding, kind: ExchangeKind) throws {
    for hosts in ExchangeFailureTests.layouts {
      for place in ExchangeFailureTests.places {
        for overlaps in [true, false] {
          var scenario = ExchangeScenario(microBatches: 2 * hosts.count)
          scenario.options.sharding = sharding
          scenario.options.kind = kind
          scenario.options.overlaps = overlaps
          scenario.options.bucketBytes = 8192
          try expectAllReturn(scenario, hosts, failing: [hosts.count - 1], place)
        }
      }
    }
  }

  /// Nor for several, nor for all.
  @Test(arguments: Sharding.allCases, [[0, 1], [1, 2], [0, 1, 2, 3]])
  func severalRanksFail(sharding: Sharding, failing: [Int]) throws {
    for place in ExchangeFailureTests.places {
      for isDeterministic in [true, false] {
        var scenario = ExchangeScenario(microBatches: 8)
        scenario.options.sharding = sharding
        scenario.options.isDeterministic = isDeterministic
        scenario.options.bucketBytes = 8192
        try expectAllReturn(scenario, [0, 0, 1, 1], failing: Set(failing), place)
      }
    }
  }

  /// A rank that fails does not know in which order the others complete their buckets.
  @Test(arguments: Sharding.allCases, ExchangeKind.allCases)
  func orderOfCompletionIsUnknown(sharding: Sharding, kind: ExchangeKind) throws {
    for order in ExchangeModel.Order.allCases {
      for hosts in [[0, 0], [0, 1], [0, 0, 1, 1]] {
        for place in ExchangeFailureTests.places {
          var scenario = ExchangeScenario(microBatches: 2 * hosts.count, order: order)
          scenario.options.sharding = sharding
          scenario.options.kind = kind
          // A bucket for each parameter: more than may be under way at once.
          scenario.options.bucketBytes = 64
          try expectAllReturn(scenario, hosts, failing: [0], place)
        }
      }
    }
  }

  /// Each rank knows its own gradients: only the one that has made it names the parameter.
  @Test(arguments: Sharding.allCases, [Float.nan, .infinity, -.infinity])
  func nonFiniteGradientsAreNamed(sharding: Sharding, value: Float) throws {
    for hosts in [[0], [0, 0], [0, 1], [0, 0, 1, 1]] {
      var scenario = ExchangeScenario(microBatches: 2 * hosts.count, order: .backward)
      scenario.options.sharding = sharding
      scenario.options.bucketBytes = 8192
      let names = try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) {
        [scenario] group -> [String?] in
        let optimizer = try scenario.makeOptimizer(group)
        var names: [String?] = []
        for isBad in [false, true, false] {
          optimizer.beginStep()
          for (index, microBatch) in optimizer.microBatchIndices().enumerated() {
            optimizer.beginMicroBatch(index)
            var gradients = ExchangeModel.gradients(step: 0, microBatch: microBatch)
            if isBad, group.rank == hosts.count - 1 {
              // Both: the later one in the layout comes first in backward.
              for name in ["block.weight", "mlp.weight"] {
                let parameter = try #require(optimizer.tree.parameter(named: name))
                gradients[parameter.offset + parameter.count - 1] = value
              }
            }
            try ExchangeModel.backward(gradients, optimizer.tree, .backward, into: optimizer.sink)
            try optimizer.endMicroBatch()
          }
          try optimizer.finishExchange()
          let summary = try optimizer.summarize(gradientCount: scenario.microBatches)
          #expect(summary.norm.isFinite == !isBad)
          names.append(optimizer.nonFiniteParameter)
          try optimizer.hostBarrier()
        }
        try group.barrier()
        return names
      }
      for (rank, names) in names.enumerated() {
        #expect(names == [nil, rank == hosts.count - 1 ? "mlp.weight" : nil, nil], "\(hosts)")
      }
    }
  }

  /// What a rank updates it has checked by the next update.
  @Test(arguments: Sharding.allCases, [0, 13, 22, 30, 31])
  func aFlippedBitIsFound(sharding: Sharding, bit: Int) throws {
    for hosts in [[0], [0, 0], [0, 0, 1, 1], [0, 1]] {
      var scenario = ExchangeScenario(microBatches: hosts.count)
      scenario.options.sharding = sharding
      scenario.options.bucketBytes = 8192
      let finders = try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) {
        [scenario] group -> Bool in
        let optimizer = try scenario.makeOptimizer(group)
        for step in 0..<2 { _ = try scenario.run(optimizer, step: step) }
        let place = optimizer.optimizer.firstMoments.ranges[0].lowerBound
        if group.rank == hosts.count - 1 {
          let value = optimizer.parameters.pointer[place]
          optimizer.parameters.pointer[place] = Float(bitPattern: value.bitPattern ^ 1 << bit)
        }
        try group.barrier()
        var found = false
        do {
          _ = try scenario.run(optimizer, step: 2)
        } catch let error as CorruptedParameters {
          #expect(error.range.contains(place))
          #expect(error.parameter == optimizer.tree.parameter(at: error.range.lowerBound).name)
          found = true
        }
        // It is said once, and the exchange goes on.
        _ = try scenario.run(optimizer, step: 3)
        try group.barrier()
        return found
      }
      #expect(finders == hosts.indices.map { $0 == hosts.count - 1 }, "\(hosts)")
    }
  }

  /// Parameters that were loaded are no corruption.
  @Test func loadedParametersAreNoCorruption() throws {
    try ThreadProcessGroup.run(count: 2) { group in
      let scenario = ExchangeScenario(microBatches: 2)
      let optimizer = try scenario.makeOptimizer(group)
      _ = try scenario.run(optimizer, step: 0)
      if optimizer.writesParameters { optimizer.parameters.initialize(optimizer.tree, seed: 9) }
      try optimizer.didLoad()
      _ = try scenario.run(optimizer, step: 1)
      try group.barrier()
    }
  }
}
