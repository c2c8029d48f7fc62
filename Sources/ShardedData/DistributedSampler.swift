public import Interfaces

/// The order of samples of a run: one endless stream, shuffled anew in each epoch.
///
/// Position `p` of the stream lies in epoch `p / count`; within an epoch each sample comes exactly
/// once. The order is a function of (seed, epoch) alone. The sampler knows nothing of ranks: a
/// rank asks for the micro-batches it runs by their index in the step, so the global batch is the
/// same for any number of ranks, and a resumed run needs one integer, the step.
public struct DistributedSampler: Equatable, Sendable {
  /// Samples in the data set.
  public let count: Int
  public let seed: UInt64

  /// - Precondition: `count` is at least 1.
  public init(count: Int, seed: UInt64) {
    precondition(count >= 1, "a sampler over \(count) samples")
    self.count = count
    self.seed = seed
  }

  /// The sample at a position of the stream.
  ///
  /// - Complexity: O(1), in time and memory.
  public func sample(at position: Int) -> SampleKey {
    samples(at: position..<position + 1)[0]
  }

  /// The samples of a micro-batch: positions `step x globalBatchSize + microBatch x
  /// microBatchSize` and the following. A batch may span two epochs.
  ///
  /// - Parameter microBatch: Index in the whole step, `0..<globalBatchSize / microBatchSize`.
  public func samples(
    step: Int, microBatch: Int, microBatchSize: Int, globalBatchSize: Int
  ) -> [SampleKey] {
    precondition(
      microBatch >= 0 && (microBatch + 1) * microBatchSize <= globalBatchSize,
      "micro-batch \(microBatch) of \(microBatchSize) samples in a step of \(globalBatchSize)")
    let first = step * globalBatchSize + microBatch * microBatchSize
    return samples(at: first..<first + microBatchSize)
  }

  private func samples(at positions: Range<Int>) -> [SampleKey] {
    precondition(positions.lowerBound >= 0, "position \(positions.lowerBound)")
    var epoch = positions.lowerBound / count
    var order = KeyedPermutation(count: count, seed: seed, epoch: epoch)
    return positions.map { position in
      if position / count != epoch {
        epoch = position / count
        order = KeyedPermutation(count: count, seed: seed, epoch: epoch)
      }
      return SampleKey(epoch: epoch, sample: order[position - epoch * count])
    }
  }
}
