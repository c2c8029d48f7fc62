import NN

/// All that model, options and the ranks' hosts say about a rank's part in updates, before any
/// memory is taken: the run is built from it, and a plan of its memory counts it.
struct ExchangeLayout {
  let buckets: BucketPlan
  private(set) var exchange: ExchangePlan
  /// Places that the rank updates.
  private(set) var updated: [Range<Int>]
  /// Buffers for sums over ranks that are not complete, of the updated places each.
  let shards: Int
  /// Buffers for sums over micro-batches that are not complete, of all places each.
  let partialSums: Int

  init(
    for tree: ParameterTree, _ options: ExchangeOptions, topology: Topology, position: Int,
    microBatches: Int
  ) {
    let isSharded = options.sharding == .gradients
    let worldSize = topology.worldSize
    let roots =
      options.isDeterministic && isSharded && microBatches > 1
      ? MicroBatchOrder.groups(worldSize: worldSize) : nil
    buckets = BucketPlan(for: tree, bucketBytes: options.bucketBytes)
    exchange = ExchangePlan(
      for: tree, plan: buckets, topology: topology, position: position,
      sharding: options.sharding, wire: options.wire, roots: roots)
    updated = exchange.updatedRanges(of: position)
    let height = GradientShards.height(
      exchanges: microBatches, isDeterministic: options.isDeterministic)
    shards = isSharded ? exchange.roots.count * height : 0
    partialSums =
      options.isDeterministic && !isSharded
      ? WholeGradients.levels(microBatches: microBatches) - 1 : 0
  }

  /// The same for another rank.
  func seen(from position: Int) -> ExchangeLayout {
    var layout = self
    layout.exchange = exchange.seen(from: position)
    layout.updated = exchange.updatedRanges(of: position)
    return layout
  }

  /// The layout of hosts as the exchange sees it: without shared memory every rank is on its own.
  static func topology(hosts: [Int], _ options: ExchangeOptions) -> Topology {
    Topology(hosts: options.sharesMemory ? hosts : Array(hosts.indices))
  }

  /// Whether there is anything to exchange: alone, a rank's gradients are the sums.
  static func exchanges(worldSize: Int, _ options: ExchangeOptions) -> Bool {
    worldSize > 1 || options.sharding == .gradients
  }
}
