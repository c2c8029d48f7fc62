import Interfaces
import NN
import TensorCore
import Testing

@testable import DataParallel

/// What is planned for the ranks against what they have.
@Suite struct ExchangeMemoryTests {
  private static let microBatches = 3

  struct Layout: Sendable, CustomTestStringConvertible {
    var hosts = [0, 0, 1]
    var options = ExchangeOptions()
    var testDescription: String { "\(hosts) \(options)" }
  }

  static let layouts: [Layout] = Sharding.allCases.flatMap { sharding in
    [false, true].flatMap { isDeterministic in
      [[0], [0, 0], [0, 1, 1], [0, 1, 0, 2]].flatMap { hosts in
        [false, true].map { sharesMemory in
          var layout = Layout(hosts: hosts)
          layout.options.sharding = sharding
          layout.options.isDeterministic = isDeterministic
          layout.options.sharesMemory = sharesMemory
          layout.options.bucketBytes = 40_000
          return layout
        }
      }
    }
  }

  private static func tree() -> ParameterTree {
    let tree = ParameterTree()
    for (index, count) in [5000, 77, 12_000, 16, 9001].enumerated() {
      _ = tree.add("p\(index).weight", [count], .constant(1))
    }
    return tree
  }

  @Test(arguments: layouts) func plannedIsWhatRanksHave(layout: Layout) throws {
    let planned = ExchangeMemory.ofRanks(
      Self.tree(), layout.options, hosts: layout.hosts, microBatches: Self.microBatches)
    try ThreadProcessGroup.run(count: layout.hosts.count, hosts: layout.hosts) {
      (group) throws in
      let (tree, pool) = (Self.tree(), ThreadPool(threadCount: 1))
      let optimizer = try DistributedOptimizer(
        tree, AdamWConfiguration(), layout.options, microBatches: Self.microBatches, group: group,
        stallGuard: StallGuard(), pool: pool)
      optimizer.beginStep()
      for index in 0..<Self.microBatches {
        optimizer.beginMicroBatch(index)
        try optimizer.endMicroBatch()
      }
      try optimizer.finishExchange()
      let plan = planned[group.rank]
      let moments = [optimizer.optimizer.firstMoments, optimizer.optimizer.secondMoments]
      #expect(plan.moments == moments.reduce(0) { $0 + $1.count * 4 })
      #expect(plan.parameters == optimizer.parameters.count * 4)
      #expect(plan.sharesParameters == optimizer.options.sharesMemory)
      #expect(plan.slots + plan.gradients == optimizer.gradientBytes)
      try group.barrier()
    }
  }

  /// A rank that sends parts of half a bucket to another host has at most three under way.
  @Test func stagingIsOnlyBetweenHosts() {
    var options = ExchangeOptions()
    options.bucketBytes = 40_000
    let tree = Self.tree()
    func staging(_ hosts: [Int]) -> [Int] {
      ExchangeMemory.ofRanks(tree, options, hosts: hosts, microBatches: 1).map(\.staging)
    }
    #expect(staging([0, 0]) == [0, 0])
    // Both hosts' parts of the own slice, and the own part of the other's.
    let bytes = tree.flatCount * 4
    for rank in staging([0, 1]) { #expect((bytes / 2...3 * bytes).contains(rank)) }
  }
}
