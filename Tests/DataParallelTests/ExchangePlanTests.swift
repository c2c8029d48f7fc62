import NN
import TensorCore
import Testing

@testable import DataParallel

/// Which rank adds up, owns and updates which part of the layout.
@Suite struct ExchangePlanTests {
  private func plans(_ hosts: [Int], _ sharding: Sharding, bucketBytes: Int) -> [ExchangePlan] {
    let tree = ExchangeModel.tree
    let buckets = BucketPlan(for: tree, bucketBytes: bucketBytes)
    let topology = Topology(hosts: hosts)
    return hosts.indices.map {
      ExchangePlan(
        for: tree, plan: buckets, topology: topology, position: $0, sharding: sharding,
        wire: .float32)
    }
  }

  private func withPlans(_ body: ([ExchangePlan]) -> Void) {
    for hosts in ExchangeModel.layouts {
      for sharding in Sharding.allCases {
        for bucketBytes in ExchangeModel.bucketSizes {
          body(plans(hosts, sharding, bucketBytes: bucketBytes))
        }
      }
    }
  }

  /// Slices of a bucket are parts of it one after the other, the same on all ranks.
  @Test func slicesCoverEachBucketOnce() {
    withPlans { plans in
      for (bucket, slices) in zip(plans[0].buckets, plans[0].slices) {
        #expect(slices.first?.range.lowerBound == bucket.range.lowerBound)
        #expect(slices.last?.range.upperBound == bucket.range.upperBound)
        for (left, right) in zip(slices, slices.dropFirst()) {
          #expect(left.range.upperBound == right.range.lowerBound)
        }
        #expect(slices.allSatisfy { !$0.range.isEmpty })
      }
      for plan in plans { #expect(plan.slices.map(Self.text) == plans[0].slices.map(Self.text)) }
    }
  }

  private static func text(_ slices: [ExchangePlan.Slice]) -> String {
    slices.map { "\($0.owner): \($0.range)" }.joined(separator: ", ")
  }

  /// Norms are sums over chunks, which therefore lie in one slice each.
  @Test func slicesBeginWhereChunksDo() {
    let tree = ExchangeModel.tree
    let starts = Set(tree.chunks(in: 0..<tree.flatCount).map(\.lowerBound))
    withPlans { plans in
      for slice in plans[0].slices.joined() { #expect(starts.contains(slice.range.lowerBound)) }
    }
  }

  /// On each host every slice has one rank that adds it up: its owner, where that is there.
  @Test func everyHostHasOneCarrierOfASlice() {
    withPlans { plans in
      for slice in plans[0].slices.joined() {
        for host in plans[0].topology.hosts {
          let carriers = host.filter { plans[$0].carries(slice) }
          #expect(carriers.count == 1)
          if host.contains(slice.owner) { #expect(carriers == [slice.owner]) }
        }
        #expect(plans.indices.filter { plans[$0].owns(slice) } == [slice.owner])
      }
    }
  }

  @Test func updatedRangesCoverTheLayoutOnceAHostOrOnceInAll() {
    withPlans { plans in
      let updaters =
        plans[0].sharding == .none
        ? plans[0].topology.hosts : [0..<plans[0].topology.worldSize]
      for positions in updaters {
        expectCover(positions.flatMap { plans[$0].updatedRanges(of: $0) })
      }
      expectCover(plans.flatMap(\.ownedRanges))
      for plan in plans {
        let ranges = plan.updatedRanges(of: plan.position)
        for (left, right) in zip(ranges, ranges.dropFirst()) {
          #expect(left.upperBound < right.lowerBound, "not merged")
        }
        // What another rank works out about this one.
        #expect(plans[0].updatedRanges(of: plan.position) == ranges)
      }
    }
  }

  private func expectCover(_ ranges: [Range<Int>]) {
    var end = 0
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      #expect(range.lowerBound == end)
      end = range.upperBound
    }
    #expect(end == ExchangeModel.tree.flatCount)
  }

  /// With everything in one bucket of many chunks: hosts have equal shares where links limit, and
  /// ranks where memory does.
  @Test func sharesAreEqual() {
    let tree = ParameterTree()
    _ = tree.add("weight", [120, ParameterTree.chunk], .constant(0))
    let buckets = BucketPlan(for: tree, bucketBytes: 1 << 30)
    for (sharding, expected) in [
      (Sharding.none, [20, 20, 20, 60]), (.optimizer, [30, 30, 30, 30]),
      (.gradients, [30, 30, 30, 30]),
    ] {
      let topology = Topology(hosts: [0, 1, 1, 1])
      let chunks = (0..<4).map { position in
        ExchangePlan(
          for: tree, plan: buckets, topology: topology, position: position, sharding: sharding,
          wire: .float32
        ).ownedRanges.reduce(0) { $0 + $1.count } / ParameterTree.chunk
      }
      #expect(chunks == expected)
    }
  }

  /// Each host's blocks, and from these the roots, whatever the layout: as one counter over all
  /// positions of a root.
  @Test func treesGiveTheOneOrder() {
    for hosts in ExchangeModel.layouts {
      let topology = Topology(hosts: hosts)
      for roots in [nil, MicroBatchOrder.groups(worldSize: hosts.count)] {
        let plans = hosts.indices.map {
          ExchangePlan(
            for: ExchangeModel.tree, plan: BucketPlan(for: ExchangeModel.tree, bucketBytes: 4096),
            topology: topology, position: $0, sharding: .gradients, wire: .float32,
            roots: roots)
        }
        let parts = topology.hosts.flatMap { host in
          plans[host.lowerBound].localTrees.map { tree in
            SumText.text(tree) { "\(host.lowerBound + $0)" }
          }
        }
        let sums = plans[0].trees.map { SumText.text($0) { parts[$0] } }
        #expect(sums == plans[0].roots.map { SumText.counter(over: $0) })
      }
    }
  }
}
