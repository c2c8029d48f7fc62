import Interfaces
import Models
import NN
import TensorCore

/// Trains a head on frozen features: every rank a part of each batch, gradients added up, the same
/// update on all.
final class ProbeTraining {
  let head: any ProbeHead
  let parameters: FlatBuffer
  let optimizer: any MomentumOptimizer
  private let gradients: FlatBuffer
  private let sink: FlatGradientSink
  private let tape: Tape
  private let group: any ProcessGroup
  private let reducer: GroupReducer
  private let scope: BatchScope

  /// What a step has shown, over all ranks.
  struct StepResult {
    let loss: Double
    let correct: Int
  }

  init(
    _ head: any ProbeHead, _ optimizer: any MomentumOptimizer, _ scope: BatchScope, seed: Int,
    group: any ProcessGroup, pool: ThreadPool
  ) {
    (self.head, self.optimizer, self.scope, self.group) = (head, optimizer, scope, group)
    let tree = head.parameters
    parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
    gradients = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "gradients")
    parameters.initialize(tree, seed: UInt64(seed))
    sink = FlatGradientSink(gradients, for: tree)
    tape = Tape(parameters: parameters, pool: pool)
    reducer = GroupReducer(group)
  }

  /// One update. Collective.
  func step(
    _ features: Tensor, _ labels: [Int32], learningRate: Double
  ) throws(CollectiveError) -> StepResult {
    sink.beginStep()
    let logits = head.logits(.constant(features), .training, reducer: sharedReducer, tape)
    let (loss, correct) = tape.crossEntropy(logits, targets: TokenIndices(labels))
    tape.backward(from: [(loss.variable, 1)], into: sink)
    sink.endStep()
    try group.allReduceSum(gradients.memory(0..<gradients.count))
    try synchronizeStatistics()
    optimizer.update(
      parameters, gradients: gradients, scale: 1 / Float(group.worldSize),
      learningRate: Float(learningRate))
    try reducer.check()
    var sums = [loss.value, Double(correct)]
    let outcome = sums.withUnsafeMutableBufferPointer { buffer in
      Result { () throws(CollectiveError) in try group.allReduceSum(buffer) }
    }
    try outcome.get()
    return StepResult(loss: sums[0] / Double(group.worldSize), correct: Int(sums[1]))
  }

  /// Logits of a batch that is not trained on; nothing collective.
  func logits(_ features: Tensor, _ mode: BatchNorm.Mode) -> Tensor {
    tape.withoutGradient {
      head.logits(.constant(features), mode, reducer: nil, tape).value
    }
  }

  private var sharedReducer: (any BatchReducer)? { scope == .all ? reducer : nil }

  /// Running statistics of ranks' own batches differ: the first rank's count.
  private func synchronizeStatistics() throws(CollectiveError) {
    guard scope == .rank, group.worldSize > 1 else { return }
    for tensor in [head.norm.runningMean, head.norm.runningVariance] {
      try group.broadcast(
        UnsafeMutableRawBufferPointer(
          UnsafeMutableBufferPointer(start: tensor.pointer, count: tensor.count)), root: 0)
    }
  }
}
