import Interfaces
import NN
import TensorCore

/// A few buckets of a rank's gradients at a time, in slots that its host can read. Each is reduced
/// into its owners' shards when backward has filled it, and its slot is used again, in every
/// micro-batch.
final class SlottedGradients: GradientMemory {
  /// One that backward fills, one that is being added up, one that waits.
  static let slotCount = 3

  /// Of each rank of this host its slots.
  let regions: [UnsafeMutablePointer<Float>]
  let slotSize: Int
  override var sums: ShardBuffer { shards.total }
  let shards: GradientShards
  override var exchangesEachMicroBatch: Bool { true }
  override var waitedSeconds: Double { secondsWithoutSlot }
  private var secondsWithoutSlot = 0.0

  private let memory: SharedMemory
  private let local: Int
  private let stallGuard: StallGuard
  /// What each slot holds: the bucket, and the round of its exchange once that has begun.
  private var slots: [(bucket: Int, round: Int?)?]
  /// Buckets that are being filled: their slot, or memory of their own where all slots were being
  /// filled already.
  private var places: [Int: Place] = [:]
  /// Complete ones that wait for a slot.
  private var waiting: [Int] = []
  private var isWritten: [Bool]
  private var error: CollectiveError?

  private enum Place {
    case slot(Int)
    case heap(Storage)
  }

  init(
    _ tree: ParameterTree, _ plan: BucketPlan, _ pool: ThreadPool, memory: SharedMemory,
    local: Int, shards: GradientShards, stallGuard: StallGuard
  ) {
    self.memory = memory
    self.local = local
    self.shards = shards
    self.stallGuard = stallGuard
    regions = memory.regions.compactMap { $0.baseAddress?.assumingMemoryBound(to: Float.self) }
    slotSize = plan.largestCount
    slots = Array(repeating: nil, count: SlottedGradients.slotCount)
    isWritten = tree.entries.map { _ in false }
    super.init(tree, plan, pool)
  }

  override var byteCount: Int { SlottedGradients.byteCount(plan) + shards.byteCount }

  /// Bytes of a rank's slots.
  static func byteCount(_ plan: BucketPlan) -> Int {
    slotCount * plan.largestCount * MemoryLayout<Float>.stride
  }

  override func beginStep() {
    super.beginStep()
    secondsWithoutSlot = 0
  }

  override func begin(_ round: Round) {
    super.begin(round)
    for index in isWritten.indices { isWritten[index] = false }
  }

  override func place(of parameter: Parameter) -> (UnsafeMutablePointer<Float>, Float) {
    let place = pointer(parameter)
    defer { isWritten[parameter.index] = true }
    if !isWritten[parameter.index] {
      // What another bucket left between parameters must not get into sums.
      let padding = (parameter.count + 15) / 16 * 16 - parameter.count
      (place + parameter.count).update(repeating: 0, count: padding)
    }
    return (place, isWritten[parameter.index] ? 1 : 0)
  }

  override func clear(_ parameter: Parameter) {
    if isWritten[parameter.index] { return }
    place(of: parameter).0.update(repeating: 0, count: parameter.count)
  }

  override func settle(_ parameter: Parameter) -> UnsafeMutablePointer<Float>? {
    pointer(parameter)
  }

  private func pointer(_ parameter: Parameter) -> UnsafeMutablePointer<Float> {
    let bucket = plan.bucketOfParameter[parameter.index]
    let offset = parameter.offset - plan.buckets[bucket].range.lowerBound
    let place = places[bucket] ?? open(bucket)
    places[bucket] = place
    switch place {
    case .slot(let slot): return regions[local] + slot * slotSize + offset
    case .heap(let storage): return storage.pointer + offset
    }
  }

  /// A place for a bucket that backward has come to.
  private func open(_ bucket: Int) -> Place {
    var waiter = Waiter()
    let started = Waiter.now()
    defer { secondsWithoutSlot += Waiter.now() - started }
    while error == nil {
      handWaiting()
      if waiting.isEmpty, let slot = freeSlot(for: bucket) {
        slots[slot] = (bucket, nil)
        return .slot(slot)
      }
      // Where backward fills all of them, none becomes free before it goes on.
      if slots.allSatisfy({ $0 != nil && $0?.round == nil }) { break }
      pause(&waiter)
    }
    return .heap(
      HeapAllocator().allocate(
        count: plan.buckets[bucket].range.count, purpose: "bucket without slot"))
  }

  /// A slot that nobody reads; none while the bucket's last exchange goes on, as others look up its
  /// slot by its number.
  private func freeSlot(for bucket: Int) -> Int? {
    guard let exchange, exchange.isDone(bucket, round: lastRound[bucket] ?? 0) else { return nil }
    return slots.firstIndex { slot in
      guard let slot else { return true }
      return slot.round.map { exchange.isDone(slot.bucket, round: $0) } ?? false
    }
  }

  private var lastRound: [Int: Int] = [:]

  private func pause(_ waiter: inout Waiter) {
    do throws(CollectiveError) {
      try exchange?.throwFailure()
      // Who is missing, the exchanging thread finds out.
      _ = waiter.pause(stallGuard)
    } catch {
      self.error = error
    }
  }

  override func bucketIsComplete(_ bucket: Int) {
    waiting.append(bucket)
    handWaiting()
  }

  /// Hands complete buckets to the exchange, as far as they have slots: in the order of completion,
  /// which is the same on all ranks. Otherwise two ranks could each fill their slots with buckets
  /// that the other has no slot for.
  private func handWaiting() {
    while let bucket = waiting.first {
      switch places[bucket] {
      case .slot(let slot):
        give(bucket, slot)
      case .heap(let storage):
        guard let slot = freeSlot(for: bucket) ?? evictedSlot(for: bucket) else { return }
        (regions[local] + slot * slotSize).update(
          from: storage.pointer, count: plan.buckets[bucket].range.count)
        give(bucket, slot)
      case nil:
        break
      }
      waiting.removeFirst()
    }
  }

  /// Where no slot is being exchanged, so that none becomes free by itself: that of the last
  /// complete bucket, which has to wait longest.
  private func evictedSlot(for bucket: Int) -> Int? {
    guard let exchange, exchange.isDone(bucket, round: lastRound[bucket] ?? 0),
      slots.allSatisfy({ $0 != nil && $0?.round == nil })
    else { return nil }
    for other in waiting.reversed() {
      guard case .slot(let slot) = places[other] else { continue }
      let storage = HeapAllocator().allocate(
        count: plan.buckets[other].range.count, purpose: "bucket without slot")
      storage.pointer.update(
        from: regions[local] + slot * slotSize, count: plan.buckets[other].range.count)
      places[other] = .heap(storage)
      return slot
    }
    return nil
  }

  private func give(_ bucket: Int, _ slot: Int) {
    slots[slot] = (bucket, round?.number)
    places[bucket] = nil
    lastRound[bucket] = round?.number
    exchange?.counters.set(GradientExchange.Counter.note(bucket), of: local, to: slot)
    hand(bucket)
  }

  override func flush() throws(CollectiveError) {
    var waiter = Waiter()
    let started = Waiter.now()
    while !waiting.isEmpty, error == nil {
      handWaiting()
      if !waiting.isEmpty { pause(&waiter) }
    }
    secondsWithoutSlot += Waiter.now() - started
    if let error { throw error }
  }
}

/// What the exchange sees of `SlottedGradients`.
final class SlottedGradientStore: GradientStore, @unchecked Sendable {
  // Sendable: constant pointers, and shards that only the exchanging thread touches in a step.
  private let regions: [UnsafeMutablePointer<Float>]
  private let slotSize: Int
  private let counters: SharedCounters
  private let shards: GradientShards

  init(_ gradients: SlottedGradients, _ counters: SharedCounters) {
    regions = gradients.regions
    slotSize = gradients.slotSize
    self.counters = counters
    shards = gradients.shards
  }

  func source(bucket: Int, local: Int) -> UnsafeMutablePointer<Float> {
    let slot = counters.value(GradientExchange.Counter.note(bucket), of: local)
    return regions[local] + slot * slotSize
  }

  func deliver(
    _ slice: Range<Int>, _ trees: [SumTree], _ sources: [UnsafePointer<Float>], round: Round
  ) { shards.add(slice, trees, sources, round) }

  func sum(_ slice: Range<Int>) -> UnsafeMutablePointer<Float> {
    shards.total.pointer(at: slice.lowerBound)
  }
}

/// Sums over ranks of the slices that a rank owns, added up over a step's exchanges: as they come,
/// or in the one order of `ReductionOrder`, for each root a binary counter.
final class GradientShards {
  /// The sums, after a step's last exchange.
  var total: ShardBuffer { levels[0][0] }
  /// For each root the levels of its counter.
  private let levels: [[ShardBuffer]]
  private let isDeterministic: Bool

  /// - Parameters:
  ///   - roots: Sums that each exchange makes.
  ///   - exchanges: Of a step.
  init(_ ranges: [Range<Int>], roots: Int, exchanges: Int, isDeterministic: Bool) {
    self.isDeterministic = isDeterministic
    let height = GradientShards.height(exchanges: exchanges, isDeterministic: isDeterministic)
    let heap = HeapAllocator()
    levels = (0..<roots).map { _ in
      (0..<height).map { _ in ShardBuffer(ranges, allocator: heap, purpose: "gradient shard") }
    }
  }

  var byteCount: Int {
    levels.joined().reduce(0) { $0 + $1.count } * MemoryLayout<Float>.stride
  }

  /// Levels of a root's counter.
  static func height(exchanges: Int, isDeterministic: Bool) -> Int {
    // A counter up to n - 1 shows at most floor(log2 n) ones before the last term comes.
    isDeterministic ? Int.bitWidth - exchanges.leadingZeroBitCount : 1
  }

  func add(
    _ slice: Range<Int>, _ trees: [SumTree], _ sources: [UnsafePointer<Float>], _ round: Round
  ) {
    let place = slice.lowerBound
    for (root, tree) in trees.enumerated() {
      if isDeterministic {
        addTerm(slice, tree, sources, root, round)
      } else {
        let sum = levels[root][0].pointer(at: place)
        let isFirst = round.index == 0
        TreeSumKernel.sum(
          isFirst ? tree : .sum(.leaf(sources.count), tree),
          of: isFirst ? sources : sources + [UnsafePointer(sum)], into: sum, count: slice.count)
      }
    }
    guard round.isLast, trees.count > 1 else { return }
    let roots = trees.indices.map { $0..<$0 + 1 }
    TreeSumKernel.sum(
      ReductionOrder.tree(over: trees.indices, of: roots),
      of: levels.map { UnsafePointer($0[0].pointer(at: place)) },
      into: total.pointer(at: place), count: slice.count)
  }

  private func addTerm(
    _ slice: Range<Int>, _ tree: SumTree, _ sources: [UnsafePointer<Float>], _ root: Int,
    _ round: Round
  ) {
    var top = round.index.nonzeroBitCount
    let level = { [levels] in levels[root][$0].pointer(at: slice.lowerBound) }
    TreeSumKernel.sum(tree, of: sources, into: level(top), count: slice.count)
    let sums = round.isLast ? top : ReductionOrder.completedSums(byTerm: round.index)
    for _ in 0..<sums {
      let (left, right) = (level(top - 1), level(top))
      TreeSumKernel.sum(
        .sum(.leaf(0), .leaf(1)), of: [UnsafePointer(left), UnsafePointer(right)], into: left,
        count: slice.count)
      top -= 1
    }
  }
}
