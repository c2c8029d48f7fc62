public import Interfaces
import TensorCore

/// The order of samples of a run: one endless stream, shuffled anew in each epoch.
///
/// Position `p` of the stream lies in epoch `p / count`; within an epoch each sample comes exactly
/// once. The order is a function of (seed, epoch) alone. The sampler knows nothing of ranks: a
/// rank asks for the micro-batches it runs by their index in the step, so the global batch is the
/// same for any number of ranks, and a resumed run needs one integer, the step.
///
/// Storage is read near-sequentially all the same. Samples that lie together form *windows*; the
/// windows of an epoch are shuffled, which shuffles the shards too, and taken in groups of 16. A
/// window consists of runs of 8 neighbours; the runs of a group are shuffled, and the samples of
/// each run. So a batch mixes many windows, while whoever reads a part of it reads stretches of a
/// file, not single samples. Windows are cut from a ring of all samples that is turned by a random
/// amount each epoch: no sample is always among those that are left over at its end, nor among the
/// same neighbours.
///
/// Nothing is stored: memory and time of a position do not depend on the number of samples.
public struct DistributedSampler: Equatable, Sendable {
  /// Samples in the data set.
  public let count: Int
  public let seed: UInt64
  /// Samples of a window; 1: a plain shuffle.
  public let windowSize: Int

  private static let windowsOfGroup = 16
  private static let samplesOfRun = 8

  /// - Precondition: `count` and `windowSize` are at least 1.
  public init(count: Int, seed: UInt64, windowSize: Int = 1) {
    precondition(count >= 1 && windowSize >= 1, "a sampler over \(count) samples by \(windowSize)")
    self.count = count
    self.seed = seed
    self.windowSize = windowSize
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
    var order = EpochOrder(self, epoch: positions.lowerBound / count)
    return positions.map { position in
      if position / count != order.epoch { order = EpochOrder(self, epoch: position / count) }
      return SampleKey(
        epoch: order.epoch, sample: order.sample(at: position - order.epoch * count))
    }
  }

  /// The order of one epoch.
  private struct EpochOrder {
    let epoch: Int
    private let sampler: DistributedSampler
    private let windows: KeyedPermutation?
    /// How far the ring of samples is turned.
    private let turn: Int

    init(_ sampler: DistributedSampler, epoch: Int) {
      self.epoch = epoch
      self.sampler = sampler
      let whole = sampler.count / sampler.windowSize
      windows =
        whole == 0
        ? nil : KeyedPermutation(count: whole, seed: sampler.seed, stream: .samplerOrder, epoch)
      var random = CounterRandom(seed: sampler.seed, epoch: epoch, stream: .samplerTurn)
      turn = sampler.windowSize == 1 ? 0 : random.integer(below: sampler.count)
    }

    func sample(at position: Int) -> Int {
      let size = sampler.windowSize
      guard let windows else { return turned(shuffled(position, of: sampler.count, part: 0)) }
      if size == 1 { return windows[position] }
      // The samples that fill no window come last.
      let start = windows.count * size
      guard position < start else {
        return turned(
          start + shuffled(position - start, of: sampler.count - start, part: -1))
      }
      let perGroup = windowsOfGroup * size
      let group = position / perGroup
      let windowsHere = min(windowsOfGroup, windows.count - group * windowsOfGroup)
      let (slot, place) = slot(of: position - group * perGroup, group: group, of: windowsHere)
      return turned(windows[group * windowsOfGroup + slot] * size + place)
    }

    /// Which window of a group, and which place in it, a position of the group stands for.
    private func slot(of position: Int, group: Int, of windows: Int) -> (slot: Int, place: Int) {
      let size = sampler.windowSize
      let runsOfWindow = size / samplesOfRun
      let inRuns = runsOfWindow * samplesOfRun * windows
      // A window that is no multiple of a run leaves a few places over, which come last.
      guard position < inRuns else {
        let left = size - runsOfWindow * samplesOfRun
        let rest = position - inRuns
        return (rest / left, runsOfWindow * samplesOfRun + rest % left)
      }
      let runs = KeyedPermutation(
        count: runsOfWindow * windows, seed: sampler.seed, stream: .samplerRuns, epoch, group)
      let run = runs[position / samplesOfRun]
      let inRun = shuffled(
        position % samplesOfRun, of: samplesOfRun, part: group * runs.count + run)
      return (run / runsOfWindow, run % runsOfWindow * samplesOfRun + inRun)
    }

    private func shuffled(_ place: Int, of size: Int, part: Int) -> Int {
      KeyedPermutation(
        count: size, seed: sampler.seed, stream: .samplerRun, epoch, part)[place]
    }

    private func turned(_ sample: Int) -> Int {
      let sum = sample + turn
      return sum < sampler.count ? sum : sum - sampler.count
    }
  }
}
