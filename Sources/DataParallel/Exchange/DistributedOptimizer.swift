import Glibc
public import Interfaces
public import NN
public import TensorCore

/// How gradients are added up.
public enum ExchangeKind: String, Codable, Sendable, CaseIterable {
  /// In memory of the host first, then once between hosts.
  case hierarchical
  /// The library's allreduce, bucket by bucket.
  case mpi
}

/// How ranks share the work and the memory of an update.
public struct ExchangeOptions: Sendable, Equatable {
  public var kind = ExchangeKind.hierarchical
  public var wire = Wire.float32
  public var sharding = Sharding.none
  public var bucketBytes = 4 << 20
  /// Begin to exchange while backward goes on.
  public var overlaps = true
  /// The same bits on any number of ranks.
  public var isDeterministic = false
  /// One copy of the parameters for all ranks of a host.
  public var sharesMemory = true

  public init() {}
}

/// What a step found out about its gradients.
public struct GradientSummary: Sendable, Equatable {
  /// L2 norm of the mean gradient over all ranks, before clipping.
  public let norm: Double
  /// Seconds in which this rank did nothing but wait for the exchange.
  public let exposedSeconds: Double
}

/// Parameters, gradients and moments of a run, spread over its ranks: backward goes into `sink`, the
/// sums over ranks are made meanwhile, and each rank updates what it has to.
///
/// A step:
///
///     beginStep
///     for each micro-batch: beginMicroBatch, backward into sink, endMicroBatch
///     finishExchange    -> norm
///     update            (or not, where the norm is not finite)
///
/// - SeeAlso: Shoeybi et al., Megatron-LM, arXiv:1909.08053 (distributed optimizer); Rajbhandari et
///   al., ZeRO, arXiv:1910.02054.
public final class DistributedOptimizer {
  public let tree: ParameterTree
  /// The ranks of a host share them, where memory is shared: only `update` writes.
  public let parameters: FlatBuffer
  public let optimizer: AdamW
  public let options: ExchangeOptions
  public let topology: Topology
  /// A sentence where the host has no memory to share.
  public let warning: String?
  /// Whether gradients were finite on this rank: the first parameter whose was not.
  public var nonFiniteParameter: String? { gradients.nonFinite }

  private let group: any ProcessGroup
  private let pool: ThreadPool
  private let stallGuard: StallGuard
  private let plan: ExchangePlan
  private let gradients: GradientMemory
  private let exchange: GradientExchange?
  /// Pieces of the owned sums in which their norm is computed.
  private let normChunks: [UnsafeBufferPointer<Float>]
  private let microBatches: Int
  private var roundNumber = 0
  /// Exchanges of this step that have not begun.
  private var pending: [Round] = []
  /// One that begins when backward is over.
  private var held: Round?
  private var exposedSeconds = 0.0

  /// Collective. Blocking.
  ///
  /// - Parameters:
  ///   - microBatches: Of this rank in a step.
  ///   - timeline: Shows the exchange.
  ///   - allocator: For what is not shared.
  public init(
    _ tree: ParameterTree, _ configuration: AdamWConfiguration, _ options: ExchangeOptions,
    microBatches: Int, group: any ProcessGroup, stallGuard: StallGuard, pool: ThreadPool,
    timeline: Timeline? = nil, allocator: any MemoryAllocator = HeapAllocator()
  ) throws(CollectiveError) {
    self.tree = tree
    self.group = group
    self.pool = pool
    self.stallGuard = stallGuard
    self.microBatches = microBatches
    let buckets = BucketPlan(for: tree, bucketBytes: options.bucketBytes)
    let needed = HostMemory.bytes(tree, buckets, options.sharding)
    let shortage =
      options.sharesMemory
      ? try HostMemory.shortage(parameters: needed.parameters, perRank: needed.perRank, group) : nil
    var options = options
    if shortage != nil { options.sharesMemory = false }
    warning = shortage
    self.options = options
    topology = ExchangeLayout.topology(hosts: group.hosts, options)
    let position = topology.position(ofRank: group.rank)
    let layout = ExchangeLayout(
      for: tree, options, topology: topology, position: position, microBatches: microBatches)
    plan = layout.exchange
    let local = position - plan.local.lowerBound

    func share(_ bytes: Int, _ purpose: String) throws(CollectiveError) -> SharedMemory {
      options.sharesMemory
        ? try group.shareMemory(byteCount: bytes, purpose: purpose)
        : .privateMemory(byteCount: bytes)
    }
    // One copy a host: the first rank's region.
    let shared = try share(local == 0 ? needed.parameters : 0, "parameters")
    guard let base = shared.regions[0].baseAddress else {
      throw CollectiveError(operation: "sharing memory for parameters", reason: "there is none")
    }
    parameters = FlatBuffer(
      for: tree,
      storage: Storage(
        pointer: base.assumingMemoryBound(to: Float.self), count: tree.flatCount
      ) { [shared] _ in _ = shared })
    let counters = SharedCounters(
      try share(
        SharedCounters.byteCount(
          GradientExchange.Counter.count(buckets: buckets.buckets.count)), "counters"))
    let memory = try share(needed.perRank, "gradients")
    let updated = layout.updated
    optimizer = AdamW(configuration, for: tree, ranges: updated, allocator: allocator)

    let store: any GradientStore
    if options.sharding == .gradients {
      let shards = GradientShards(
        updated, roots: plan.roots.count, exchanges: microBatches,
        isDeterministic: options.isDeterministic)
      let slotted = SlottedGradients(
        tree, buckets, pool, memory: memory, local: local, shards: shards, stallGuard: stallGuard)
      store = SlottedGradientStore(slotted, counters)
      gradients = slotted
    } else {
      let whole = WholeGradients(
        tree, buckets, pool, memory: memory, local: local, updated: updated,
        isDeterministic: options.isDeterministic)
      store = WholeGradientStore(whole)
      gradients = whole
    }
    let sums = gradients.sums
    normChunks = plan.ownedRanges.flatMap { tree.chunks(in: $0) }.map {
      UnsafeBufferPointer(start: sums.pointer(at: $0.lowerBound), count: $0.count)
    }
    guard ExchangeLayout.exchanges(worldSize: group.worldSize, options) else {
      exchange = nil
      return
    }
    let exchange = GradientExchange(
      plan, store: store, counters: counters, group: group, stallGuard: stallGuard,
      wire: options.wire, usesLibrary: options.kind == .mpi, timeline: timeline)
    self.exchange = exchange
    gradients.exchange = exchange
    exchange.start()
  }

  deinit { exchange?.stop() }

  /// What was chosen, for the log.
  public var summary: String {
    guard group.worldSize > 1 else { return "one rank: nothing is exchanged" }
    let hosts = topology.hosts.map { "\($0.count)" }.joined(separator: " + ")
    let exchange = options.kind == .mpi ? "MPI_Allreduce" : "hierarchical"
    let copies =
      options.sharesMemory ? "one copy of the parameters a host" : "parameters a rank"
    return "exchange \(exchange) over \(hosts) ranks a host, wire \(options.wire.rawValue), "
      + "sharding \(options.sharding.rawValue), \(copies), \(plan.buckets.count) buckets, "
      + (options.overlaps ? "beside backward" : "after backward")
      + (options.isDeterministic ? ", deterministic" : "")
  }

  /// The sums over ranks at the places that this rank updates, after `finishExchange`.
  public var gradientSums: ShardBuffer { gradients.sums }

  /// Where backward puts gradients.
  public var sink: any GradientSink { gradients }

  /// Which micro-batches of a step this rank runs, in order.
  public func microBatchIndices() -> [Int] {
    MicroBatchOrder.indices(
      position: plan.position, worldSize: group.worldSize, count: microBatches,
      isSpread: options.sharding == .gradients)
  }

  // MARK: A step

  public func beginStep() {
    exposedSeconds = 0
    gradients.beginStep()
    let exchanges = gradients.exchangesEachMicroBatch ? microBatches : 1
    pending = (0..<exchanges).map {
      roundNumber += 1
      return Round(number: roundNumber, index: $0, isLast: $0 == exchanges - 1)
    }
    if !gradients.exchangesEachMicroBatch { beginRound() }
  }

  private func beginRound() {
    let round = pending.removeFirst()
    gradients.begin(round)
    // Slots are needed again: they cannot wait for the end of backward.
    if options.overlaps || gradients.exchangesEachMicroBatch {
      exchange?.begin(round)
    } else {
      held = round
    }
  }

  public func beginMicroBatch(_ index: Int) {
    if gradients.exchangesEachMicroBatch { beginRound() }
    gradients.beginMicroBatch(index, of: microBatches)
  }

  public func endMicroBatch() throws(CollectiveError) { try gradients.endMicroBatch() }

  /// For a rank that cannot go on: takes part in what is left of the step's exchange, whatever the
  /// values are, so that nobody waits for it. `finishExchange` is still to be called.
  public func abandonStep() {
    exchange?.abandon()
    gradients.abandon()
    while !pending.isEmpty {
      beginMicroBatch(microBatches - pending.count)
      gradients.abandon()
    }
  }

  /// Waits for the sums over ranks.
  ///
  /// Collective. Blocking.
  public func finishExchange() throws(CollectiveError) {
    let started = Waiter.now()
    if let exchange {
      if let round = held { exchange.begin(round) }
      held = nil
      try exchange.finish()
    }
    exposedSeconds += Waiter.now() - started
  }

  /// The norm of the mean gradient: the same bits on all ranks, for any number of them, any layout
  /// and any size of buckets.
  ///
  /// Collective. Blocking. After `finishExchange`.
  public func summarize(gradientCount: Int) throws(CollectiveError) -> GradientSummary {
    var sum = ExactSum()
    ReductionKernel.addSquaredNorms(pool, of: normChunks, to: &sum)
    let started = Waiter.now()
    let total = try group.exactSums([sum])[0]
    exposedSeconds += Waiter.now() - started
    exposedSeconds += gradients.waitedSeconds
    return GradientSummary(
      norm: total.value.squareRoot() / Double(gradientCount), exposedSeconds: exposedSeconds)
  }

  /// Updates the parameters, on all hosts.
  ///
  /// Collective. Blocking. After `summarize`.
  ///
  /// - Returns: Seconds in which this rank only waited.
  /// - Throws: Also where parameters are not what the last update wrote, on the rank that found it.
  public func update(
    _ summary: GradientSummary, gradientCount: Int, learningRate: Double, step: Int
  ) throws -> Double {
    var corruption: CorruptedParameters?
    do throws(CorruptedParameters) {
      try optimizer.update(
        parameters, gradients: gradients.sums,
        scale: optimizer.clipFactor(norm: summary.norm) / Double(gradientCount),
        learningRate: learningRate, step: step, pool: pool)
    } catch {
      corruption = error
    }
    let waited = try publish()
    if let corruption { throw corruption }
    return waited
  }

  /// Compares the parameters with what this rank's last update wrote: between updates nobody else
  /// would see a bit that flips.
  public func check() throws(CorruptedParameters) { try optimizer.check(parameters, pool: pool) }

  private func publish() throws(CollectiveError) -> Double {
    let started = Waiter.now()
    if options.sharding != .none { try exchange?.gatherParameters(parameters.pointer) }
    // Before anybody reads parameters, or overwrites gradients.
    try exchange?.hostBarrier()
    return Waiter.now() - started
  }

  // MARK: State

  /// For each rank the places whose parameters and moments it saves: ascending, disjoint, together
  /// all. The moments of its own it has.
  var savedRanges: [[Range<Int>]] {
    (0..<group.worldSize).map { plan.seen(from: topology.position(ofRank: $0)).ownedRanges }
  }

  /// Places whose parameters this rank has to set when a checkpoint is loaded, together with the
  /// other ranks of its host all.
  public var loadedRange: Range<Int> {
    let (local, count) = (plan.position - plan.local.lowerBound, plan.local.count)
    return tree.flatCount * local / count..<tree.flatCount * (local + 1) / count
  }

  /// Moments of the places that this rank updates.
  public var moments: (first: ShardBuffer, second: ShardBuffer) {
    (optimizer.firstMoments, optimizer.secondMoments)
  }

  /// To be called on all ranks when they have set parameters and moments.
  ///
  /// Collective over the ranks of a host. Blocking.
  public func didLoad() throws(CollectiveError) {
    optimizer.forgetChecksums()
    try exchange?.hostBarrier()
  }

  /// What was rounded away on the wire; nil where it is not rounded.
  var wireBuffers: WireBuffers? { options.wire == .bfloat16 ? exchange?.wire : nil }

  /// Says how ranks exchange: equal texts, equal places of rounding errors.
  var exchangeIdentity: String {
    "\(options.wire.rawValue) \(options.sharding.rawValue) \(options.kind.rawValue) "
      + "\(options.bucketBytes) \(topology.hosts.map(\.count)) \(options.isDeterministic)"
  }

  /// Whether this rank writes its host's copy when parameters are set as a whole.
  public var writesParameters: Bool { plan.position == plan.local.lowerBound }

  /// Returns when all ranks of the host have come.
  public func hostBarrier() throws(CollectiveError) { try exchange?.hostBarrier() }

  /// Bytes of this rank's gradients and of its sums of them.
  var gradientBytes: Int { gradients.byteCount }
}
