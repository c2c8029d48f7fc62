import Glibc
import Interfaces
import MPI
import NN
import TensorCore
import TestSupport
import Testing

@testable import DataParallel

/// The exchange between processes, in windows that they share.
///
/// Started by mpirun only: elsewhere a second suite of the process may be using MPI.
@Suite(
  .serialized, .timeLimit(.minutes(1)),
  .enabled(if: getenv("OMPI_COMM_WORLD_SIZE") != nil, "run by Scripts/test-mpi"))
struct ExchangeMPITests {
  private static let runtime: Result<MPIRuntime, any Error> = Result {
    let runtime = try MPIRuntime.initialize()
    // mpirun calls a rank that ends without it failed.
    atexit { try? ExchangeMPITests.runtime.get().finalize() }
    return runtime
  }

  /// Runs a check on the ranks as they are, and on the same ranks as if they were on two hosts, one
  /// after the other or taking turns, and each on its own.
  private func withGroups(_ body: (any ProcessGroup) throws -> Void) throws {
    let world = try ExchangeMPITests.runtime.get().world
    let group = try MPIProcessGroup(communicator: world.duplicate())
    try body(group)
    try group.close()
    // Only ranks that can share memory can be told that they do.
    guard world.size > 1, Set(group.hosts).count == 1 else { return }
    let ranks = 0..<world.size
    for hosts in [ranks.map { $0 * 2 / world.size }, ranks.map { $0 % 2 }, Array(ranks)] {
      let divided = try DividedGroup(world, hosts: hosts)
      try body(divided)
      try divided.close()
    }
  }

  private func scenario(_ group: any ProcessGroup, steps: Int = 2) -> ExchangeScenario {
    var scenario = ExchangeScenario(microBatches: 2 * group.worldSize, steps: steps)
    scenario.options.bucketBytes = 8192
    return scenario
  }

  private func expectSameOnAllRanks(
    _ outcome: ExchangeScenario.Outcome, _ group: any ProcessGroup, _ comment: Comment
  ) throws {
    let own = outcome.parameters.withUnsafeBytes { [UInt8]($0) }
    var ofRoot = own
    try ofRoot.withUnsafeMutableBytes { try group.broadcast($0, root: 0) }
    #expect(own == ofRoot, comment)
  }

  /// Exactly: the sums are in the one order.
  @Test(arguments: Sharding.allCases, [true, false])
  func deterministicBits(sharding: Sharding, sharesMemory: Bool) throws {
    try withGroups { group in
      var scenario = scenario(group)
      scenario.options.sharding = sharding
      scenario.options.sharesMemory = sharesMemory
      scenario.options.isDeterministic = true
      let (outcome, twin) = (try scenario.run(group), try scenario.twin())
      #expect(sameBits(outcome.parameters, twin.parameters), "\(group.hosts)")
      #expect(outcome.norms == twin.norms, "\(group.hosts)")
      if group.rank == 0 { #expect(outcome.hasSameBits(as: twin), "\(group.hosts)") }
    }
  }

  @Test(arguments: Sharding.allCases, ExchangeKind.allCases)
  func agreesWithOneProcess(sharding: Sharding, kind: ExchangeKind) throws {
    try withGroups { group in
      for overlaps in [true, false] {
        var scenario = scenario(group)
        scenario.options.sharding = sharding
        scenario.options.kind = kind
        scenario.options.overlaps = overlaps
        let (outcome, twin) = (try scenario.run(group), try scenario.twin())
        #expect(
          largestDifference(outcome.parameters, twin.parameters)
            < DistributedOptimizerTests.tolerance, "\(group.hosts)")
        try expectSameOnAllRanks(outcome, group, "\(group.hosts)")
      }
    }
  }

  @Test(arguments: Sharding.allCases)
  func roundedOnTheWire(sharding: Sharding) throws {
    try withGroups { group in
      var scenario = scenario(group, steps: 3)
      scenario.options.sharding = sharding
      scenario.options.wire = .bfloat16
      let (outcome, twin) = (try scenario.run(group), try scenario.twin())
      #expect(
        largestDifference(outcome.parameters, twin.parameters)
          < ExchangeWireTests.tolerance(norms: twin.norms))
      try expectSameOnAllRanks(outcome, group, "\(group.hosts)")
    }
  }

  @Test(arguments: Sharding.allCases)
  func orderOfCompletion(sharding: Sharding) throws {
    try withGroups { group in
      for order in ExchangeModel.Order.allCases {
        var scenario = scenario(group)
        scenario.order = order
        scenario.options.sharding = sharding
        scenario.options.bucketBytes = 64
        scenario.options.isDeterministic = true
        let (outcome, twin) = (try scenario.run(group), try scenario.twin())
        #expect(sameBits(outcome.parameters, twin.parameters), "\(group.hosts), \(order)")
      }
    }
  }

  /// State comes from rank 0 and goes back to it.
  @Test(arguments: Sharding.allCases)
  func stateMoves(sharding: Sharding) throws {
    try withGroups { group in
      var scenario = scenario(group, steps: 3)
      scenario.options.sharding = sharding
      scenario.options.isDeterministic = true
      let twin = try scenario.twin()
      var half = try {
        let optimizer = try scenario.makeOptimizer(group)
        let norms = try (0..<2).map { try scenario.run(optimizer, step: $0) }
        return try scenario.outcome(of: optimizer, norms, group)
      }()
      let optimizer = try scenario.makeOptimizer(group)
      try ExchangeScenario.load(half, into: optimizer)
      half.norms.append(try scenario.run(optimizer, step: 2))
      let outcome = try scenario.outcome(of: optimizer, half.norms, group)
      #expect(sameBits(outcome.parameters, twin.parameters), "\(group.hosts)")
      if group.rank == 0 { #expect(outcome.hasSameBits(as: twin), "\(group.hosts)") }
    }
  }

  /// The others do not wait for ever, whatever order they complete their buckets in.
  @Test(arguments: Sharding.allCases, ExchangeKind.allCases)
  func aRankFails(sharding: Sharding, kind: ExchangeKind) throws {
    try withGroups { group in
      for (step, order) in [(0, ExchangeModel.Order.openToTheEnd), (1, .forward)] {
        var scenario = scenario(group)
        scenario.order = order
        scenario.options.sharding = sharding
        scenario.options.kind = kind
        let optimizer = try scenario.makeOptimizer(group)
        for step in 0..<step { _ = try scenario.run(optimizer, step: step) }
        optimizer.beginStep()
        if group.rank == group.worldSize - 1 {
          optimizer.beginMicroBatch(0)
          #expect(throws: ExchangeModel.Interruption.self) {
            try ExchangeModel.backward(
              ExchangeModel.gradients(step: step, microBatch: 0), optimizer.tree, order,
              into: optimizer.sink, limit: 4)
          }
          optimizer.abandonStep()
        } else {
          try scenario.runMicroBatches(optimizer, step: step)
        }
        try optimizer.finishExchange()
        _ = try optimizer.summarize(gradientCount: scenario.microBatches)
        try group.barrier()
      }
    }
  }
}
