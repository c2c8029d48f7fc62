import NN
import TensorCore

/// What a rank keeps of the sums of gradients.
public enum Sharding: String, Codable, Sendable, CaseIterable {
  /// Every host has all sums, and updates all parameters.
  case none
  /// Every rank has the sums of its slices, and updates those.
  case optimizer
  /// As `optimizer`; and no rank ever has all its own gradients at once.
  case gradients
}

/// Who adds up and who owns which part of each bucket.
///
/// A pure value: the same on every rank, from the model and the layout alone. Each bucket is cut
/// into one slice a position; the owner of a slice gets its sum. On the other hosts the slice's
/// carrier adds up what its host has, and sends that to the owner.
struct ExchangePlan: Sendable {
  struct Slice: Sendable {
    let range: Range<Int>
    /// Position.
    let owner: Int
  }

  let topology: Topology
  private(set) var position: Int
  let sharding: Sharding
  let buckets: [BucketPlan.Bucket]
  /// Of each bucket, in the order of the layout; empty ones are left out.
  let slices: [[Slice]]
  /// Ranges of positions whose sums are wanted: usually all positions in one.
  let roots: [Range<Int>]
  /// For each host the parts of the order of summation that it can add up on its own.
  let blocks: [[Range<Int>]]
  /// For each root its tree over the blocks of all hosts, in order.
  let trees: [SumTree]

  /// - Parameter roots: Nil: the sum over all positions.
  init(
    for tree: ParameterTree, plan: BucketPlan, topology: Topology, position: Int,
    sharding: Sharding, roots: [Range<Int>]? = nil
  ) {
    let roots = roots ?? [0..<topology.worldSize]
    self.topology = topology
    self.position = position
    self.sharding = sharding
    self.roots = roots
    buckets = plan.buckets
    let starts = tree.entries.map(\.parameter.offset)
    blocks = topology.hosts.map { host in
      roots.flatMap { ReductionOrder.blocks(of: host, in: $0) }
    }
    let all = blocks.flatMap { $0 }
    trees = roots.map { ReductionOrder.tree(over: $0, of: all) }
    let shares = ExchangePlan.shares(topology, sharding)
    slices = plan.buckets.map { ExchangePlan.cut($0, starts: starts, shares: shares) }
  }

  /// The same plan for another rank.
  func seen(from position: Int) -> ExchangePlan {
    var plan = self
    plan.position = position
    return plan
  }

  var host: Int { topology.host(of: position) }

  /// Positions of this host.
  var local: Range<Int> { topology.hosts[host] }

  /// Positions of the host of a position.
  func local(to position: Int) -> Range<Int> { topology.hosts[topology.host(of: position)] }

  /// Trees over the ranks of this host, one a block.
  var localTrees: [SumTree] {
    let ranks = local.map { $0..<$0 + 1 }
    return blocks[host].map { ReductionOrder.tree(over: $0, of: ranks) }
  }

  /// Values that a host adds up of a slice: one sum a block.
  func partCount(of slice: Slice, onHost host: Int) -> Int {
    slice.range.count * blocks[host].count
  }

  func owns(_ slice: Slice) -> Bool { slice.owner == position }

  func carries(_ slice: Slice) -> Bool { carries(slice, position) }

  private func carries(_ slice: Slice, _ position: Int) -> Bool {
    topology.carrier(onHost: topology.host(of: position), ofOwner: slice.owner) == position
  }

  /// Places that a rank updates, ascending: on each host all places together where nothing is
  /// sharded, else all places together over all ranks.
  func updatedRanges(of position: Int) -> [Range<Int>] {
    ranges { sharding == .none ? carries($0, position) : $0.owner == position }
  }

  /// Places whose sums this rank owns, ascending: disjoint over all ranks.
  var ownedRanges: [Range<Int>] { ranges(owns) }

  private func ranges(_ isWanted: (Slice) -> Bool) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    for slice in slices.reversed().joined() where isWanted(slice) {
      if let last = ranges.last, last.upperBound == slice.range.lowerBound {
        ranges[ranges.count - 1] = last.lowerBound..<slice.range.upperBound
      } else {
        ranges.append(slice.range)
      }
    }
    return ranges
  }

  /// Each position's share of a bucket. Where every host gets all sums, hosts have equal shares,
  /// since links limit; where ranks keep what they own, ranks have, since memory does.
  private static func shares(_ topology: Topology, _ sharding: Sharding) -> [Double] {
    topology.hosts.flatMap { host in
      host.map { _ in
        sharding == .none
          ? 1 / Double(topology.hosts.count * host.count) : 1 / Double(topology.worldSize)
      }
    }
  }

  private static func cut(
    _ bucket: BucketPlan.Bucket, starts: [Int], shares: [Double]
  ) -> [Slice] {
    var (slices, sum, start) = ([Slice](), 0.0, bucket.range.lowerBound)
    for (owner, share) in shares.enumerated() {
      sum += share
      let ideal = bucket.range.lowerBound + Int((sum * Double(bucket.range.count)).rounded())
      let isLast = owner == shares.count - 1
      let next = isLast ? bucket.range.upperBound : boundary(near: ideal, starts, bucket.range)
      if next > start {
        slices.append(Slice(range: start..<next, owner: owner))
        start = next
      }
    }
    return slices
  }

  /// The nearest place where a chunk of a parameter begins.
  private static func boundary(near place: Int, _ starts: [Int], _ range: Range<Int>) -> Int {
    guard place < range.upperBound else { return range.upperBound }
    let parameter = starts.partitioningIndex { $0 > place } - 1
    let next = parameter + 1 < starts.count ? starts[parameter + 1] : range.upperBound
    let inside = place - starts[parameter]
    let chunks = (inside + ParameterTree.chunk / 2) / ParameterTree.chunk
    return min(starts[parameter] + chunks * ParameterTree.chunk, next, range.upperBound)
  }
}
