import Interfaces
import NN
import TensorCore

/// All gradients of a rank at once, in memory that its host can read.
///
/// Micro-batches are added into it as they come; or, deterministically, in the one order of
/// `ReductionOrder`, which takes a further buffer for each level of the tree.
final class WholeGradients: GradientMemory {
  /// The gradients of each rank of this host; the sums overwrite the own ones.
  let regions: [UnsafeMutablePointer<Float>]
  let own: Storage
  override var sums: ShardBuffer { sums_ }
  private let sums_: ShardBuffer
  /// Levels above the first, made when first needed.
  private var levels: [Storage] = []
  private let isDeterministic: Bool
  /// Who contributed already: in this step, or in this micro-batch.
  private var isWritten: [Bool]

  /// - Parameter updated: Places that this rank updates.
  init(
    _ tree: ParameterTree, _ plan: BucketPlan, _ pool: ThreadPool, memory: SharedMemory,
    local: Int, updated: [Range<Int>], isDeterministic: Bool
  ) {
    regions = memory.regions.compactMap { $0.baseAddress?.assumingMemoryBound(to: Float.self) }
    own = Storage(pointer: regions[local], count: tree.flatCount) { [memory] _ in _ = memory }
    sums_ = ShardBuffer(updated, of: own)
    self.isDeterministic = isDeterministic
    isWritten = tree.entries.map { _ in false }
    super.init(tree, plan, pool)
  }

  override var byteCount: Int {
    (1 + levels.count) * tree.flatCount * MemoryLayout<Float>.stride
  }

  override func beginStep() {
    super.beginStep()
    for index in isWritten.indices { isWritten[index] = false }
  }

  override func beginMicroBatch(_ index: Int, of count: Int) {
    super.beginMicroBatch(index, of: count)
    guard isDeterministic else { return }
    for index in isWritten.indices { isWritten[index] = false }
    while levels.count < height {
      levels.append(HeapAllocator().allocate(count: tree.flatCount, purpose: "partial sums"))
    }
  }

  private var isLast: Bool { microBatch == microBatches - 1 }

  /// Partial sums that wait for this micro-batch.
  private var height: Int { isDeterministic ? microBatch.nonzeroBitCount : 0 }

  /// Buffers that micro-batches are added up in, deterministically.
  static func levels(microBatches: Int) -> Int {
    1 + ((0..<microBatches).map(\.nonzeroBitCount).max() ?? 0)
  }

  private func level(_ index: Int) -> UnsafeMutablePointer<Float> {
    index == 0 ? own.pointer : levels[index - 1].pointer
  }

  override func place(of parameter: Parameter) -> (UnsafeMutablePointer<Float>, Float) {
    defer { isWritten[parameter.index] = true }
    return (level(height) + parameter.offset, isWritten[parameter.index] ? 1 : 0)
  }

  override func clear(_ parameter: Parameter) {
    if isWritten[parameter.index] { return }
    (level(height) + parameter.offset).update(repeating: 0, count: parameter.count)
    isWritten[parameter.index] = true
  }

  override func settle(_ parameter: Parameter) -> UnsafeMutablePointer<Float>? {
    if isDeterministic {
      var top = height
      let sums =
        isLast ? top : ReductionOrder.completedSums(byTerm: microBatch)
      for _ in 0..<sums {
        TokenKernel.add(
          pool, level(top) + parameter.offset, to: level(top - 1) + parameter.offset,
          count: parameter.count)
        top -= 1
      }
    }
    return isLast ? own.pointer + parameter.offset : nil
  }

  override func bucketIsComplete(_ bucket: Int) { if isLast { hand(bucket) } }
}

/// What the exchange sees of `WholeGradients`.
final class WholeGradientStore: GradientStore, @unchecked Sendable {
  // Sendable: constant pointers; ranges that are written are the own ones of the plan.
  private let regions: [UnsafeMutablePointer<Float>]
  private let own: UnsafeMutablePointer<Float>
  private let starts: [Int]
  private let memory: Storage

  init(_ gradients: WholeGradients) {
    regions = gradients.regions
    own = gradients.own.pointer
    memory = gradients.own
    starts = gradients.plan.buckets.map(\.range.lowerBound)
  }

  func source(bucket: Int, local: Int) -> UnsafeMutablePointer<Float> {
    regions[local] + starts[bucket]
  }

  func deliver(
    _ slice: Range<Int>, _ trees: [SumTree], _ sources: [UnsafePointer<Float>], round: Round
  ) {
    TreeSumKernel.sum(trees[0], of: sources, into: own + slice.lowerBound, count: slice.count)
  }

  func sum(_ slice: Range<Int>) -> UnsafeMutablePointer<Float> { own + slice.lowerBound }
}
