import Interfaces
import NN
import TensorCore

/// The training thread's side of a rank's gradients: where backward puts them, and which buckets
/// are complete.
class GradientMemory: GradientSink {
  let tree: ParameterTree
  let plan: BucketPlan
  let pool: ThreadPool
  /// The first parameter of this step whose gradient was not finite.
  private(set) var nonFinite: String?
  /// Micro-batch of the step, and their number.
  private(set) var microBatch = 0
  private(set) var microBatches = 1
  /// Takes complete buckets; nil where there is nobody to exchange with. Set before the first step.
  weak var exchange: GradientExchange?
  /// The exchange that buckets are handed to; nil before the first step.
  private(set) var round: Round?
  /// Buckets that it has been handed.
  private var handed: Set<Int> = []
  private var isComplete: [Bool]
  private var incomplete: [Int]

  init(_ tree: ParameterTree, _ plan: BucketPlan, _ pool: ThreadPool) {
    self.tree = tree
    self.plan = plan
    self.pool = pool
    isComplete = tree.entries.map { _ in false }
    incomplete = plan.buckets.map(\.parameters.count)
  }

  func beginStep() { nonFinite = nil }

  /// Buckets that become complete from here on belong to this exchange.
  func begin(_ round: Round) {
    self.round = round
    handed = []
  }

  func beginMicroBatch(_ index: Int, of count: Int) {
    (microBatch, microBatches) = (index, count)
    for index in isComplete.indices { isComplete[index] = false }
    incomplete = plan.buckets.map(\.parameters.count)
  }

  /// Completes parameters that backward has not reached.
  final func endMicroBatch() throws(CollectiveError) {
    for entry in tree.entries where !isComplete[entry.parameter.index] {
      clear(entry.parameter)
      didComplete(entry.parameter)
    }
    try flush()
  }

  final func accumulate(
    _ parameter: Parameter, _ body: (UnsafeMutablePointer<Float>, Float) -> Void
  ) {
    let (place, beta) = place(of: parameter)
    body(place, beta)
  }

  final func didComplete(_ parameter: Parameter) {
    isComplete[parameter.index] = true
    let gradient = settle(parameter)
    if let gradient, nonFinite == nil,
      !ReductionKernel.isFinite(pool, gradient, count: parameter.count)
    {
      nonFinite = parameter.name
    }
    let bucket = plan.bucketOfParameter[parameter.index]
    incomplete[bucket] -= 1
    if incomplete[bucket] == 0 { bucketIsComplete(bucket) }
  }

  /// Lets the exchange have a bucket, which is not to be written any more.
  final func hand(_ bucket: Int) {
    guard let round else { return }
    handed.insert(bucket)
    exchange?.markReady(bucket, round)
  }

  /// Lets the others go on although this rank cannot: hands over what is left, whatever it holds.
  final func abandon() {
    for bucket in plan.buckets.indices where !handed.contains(bucket) { hand(bucket) }
  }

  // MARK: To be overridden

  /// Whether every micro-batch has an exchange of its own, or the last one that of all.
  var exchangesEachMicroBatch: Bool { false }

  /// Seconds of this step in which backward has waited for memory.
  var waitedSeconds: Double { 0 }

  /// Where a contribution goes, and what it is multiplied with before.
  func place(of parameter: Parameter) -> (UnsafeMutablePointer<Float>, Float) {
    preconditionFailure("abstract")
  }

  /// Makes a gradient zero that nothing has contributed to.
  func clear(_ parameter: Parameter) { preconditionFailure("abstract") }

  /// Does what is due when a micro-batch's gradient is complete.
  ///
  /// - Returns: The gradient, where it is about to be exchanged.
  func settle(_ parameter: Parameter) -> UnsafeMutablePointer<Float>? {
    preconditionFailure("abstract")
  }

  func bucketIsComplete(_ bucket: Int) { preconditionFailure("abstract") }

  func flush() throws(CollectiveError) {}

  /// Sums of gradients at the places that this rank updates, after the exchange.
  var sums: ShardBuffer { preconditionFailure("abstract") }

  /// Bytes that this rank has for gradients and their sums.
  var byteCount: Int { preconditionFailure("abstract") }
}
