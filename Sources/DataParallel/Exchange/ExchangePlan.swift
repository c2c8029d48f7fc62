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
/// into a part a position, whose owner gets its sum. On every other host a carrier adds up what its
/// host has, and sends that to the owner; parts are cut into slices where another host, with more
/// ranks or fewer, divides that work differently.
struct ExchangePlan: Sendable {
  struct Slice: Sendable {
    let range: Range<Int>
    /// Position.
    let owner: Int
    /// For each host the position that deals with the slice: the owner on its own.
    let carriers: [Int]
  }

  let topology: Topology
  private(set) var position: Int
  let sharding: Sharding
  let buckets: [BucketPlan.Bucket]
  /// Of each bucket, in the order of the layout; empty ones are left out.
  let slices: [[Slice]]
  /// Of each bucket what is under way at once: parts of its slices, in order. All positions have a
  /// share of each.
  let pieces: [[[Slice]]]
  /// Ranges of positions whose sums are wanted: usually all positions in one.
  let roots: [Range<Int>]
  /// For each host the parts of the order of summation that it can add up on its own.
  let blocks: [[Range<Int>]]
  /// For each root its tree over the blocks of all hosts, in order.
  let trees: [SumTree]

  /// - Parameter roots: Nil: the sum over all positions.
  init(
    for tree: ParameterTree, plan: BucketPlan, topology: Topology, position: Int,
    sharding: Sharding, wire: Wire, roots: [Range<Int>]? = nil
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
    // In one host nothing has to travel.
    let pieceCount =
      topology.hosts.count == 1
      ? Int.max : shares.count * ExchangePlan.messageBytes / wire.byteCount
    pieces = plan.buckets.map { bucket in
      let ends = ExchangePlan.ends(bucket.range, starts: starts, pieceCount: pieceCount)
      return zip([bucket.range.lowerBound] + ends, ends).map {
        ExchangePlan.cut($0..<$1, starts: starts, shares: shares)
      }
    }
    slices = pieces.map { $0.flatMap { $0 } }
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
    slice.carriers[topology.host(of: position)] == position
  }

  /// Carriers of a slice on hosts that do not own it.
  func otherCarriers(of slice: Slice) -> [Int] { slice.carriers.filter { $0 != slice.owner } }

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

  /// What a slice is of every bucket.
  private struct Share {
    let part: Double
    let owner: Int
    let carriers: [Int]
  }

  /// Where every host gets all sums, hosts have equal parts of a bucket, since links limit; where
  /// ranks keep what they own, ranks have, since memory does. On each host its ranks carry equal
  /// shares of what another owns.
  private static func shares(_ topology: Topology, _ sharding: Sharding) -> [Share] {
    let hosts = topology.hosts
    let cuts = Set(hosts.map(\.count)).flatMap { count in
      (0...count).map { Double($0) / Double(count) }
    }
    let places = Set(cuts).sorted()
    return hosts.enumerated().flatMap { number, host in
      let part =
        sharding == .none
        ? 1 / Double(hosts.count) : Double(host.count) / Double(topology.worldSize)
      return zip(places, places.dropFirst()).map { start, end in
        let carriers = hosts.map { $0.lowerBound + Int((start + end) / 2 * Double($0.count)) }
        return Share(part: part * (end - start), owner: carriers[number], carriers: carriers)
      }
    }
  }

  /// Bytes of a message, about: short ones are acted upon soon and hold up no other, but below
  /// 192 KiB Open MPI copies them (`btl_tcp_min_rdma_pipeline_size`).
  private static let messageBytes = 1 << 18

  /// Where pieces of a bucket end.
  private static func ends(_ range: Range<Int>, starts: [Int], pieceCount: Int) -> [Int] {
    let count = max(1, range.count / pieceCount)
    var ends: [Int] = []
    for number in 1..<count {
      let ideal = range.lowerBound + range.count * number / count
      let end = boundary(near: ideal, starts, range)
      if end > ends.last ?? range.lowerBound { ends.append(end) }
    }
    if ends.last == range.upperBound { return ends }
    return ends + [range.upperBound]
  }

  private static func cut(
    _ range: Range<Int>, starts: [Int], shares: [Share]
  ) -> [Slice] {
    var (slices, sum, start) = ([Slice](), 0.0, range.lowerBound)
    for (index, share) in shares.enumerated() {
      sum += share.part
      let ideal = range.lowerBound + Int((sum * Double(range.count)).rounded())
      let isLast = index == shares.count - 1
      let next = isLast ? range.upperBound : boundary(near: ideal, starts, range)
      if next > start {
        slices.append(Slice(range: start..<next, owner: share.owner, carriers: share.carriers))
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
