import Interfaces
import Models
import ShardedData
import TensorCore

/// Standardized patches of images in the sampler's order: each rank loads a part of every round,
/// all get the whole.
final class PatchSource {
  /// Images of one request to the loader.
  private static let imagesPerRequest = 64

  private let fit: TokenizerFit
  private let loader: BatchLoader
  private let rounds: [Round]
  private var round = 0

  /// This rank's share of a round; all ranks load equally many, the last ones a few too many.
  private struct Round {
    let images: Int
    let mine: Range<Int>
  }

  /// - Parameter images: Images of each round, over all ranks.
  init(_ fit: TokenizerFit, rounds images: [Int]) throws(ShardError) {
    self.fit = fit
    var (first, rounds): (Int, [Round]) = (0, [])
    for count in images {
      let perRank = (count + fit.group.worldSize - 1) / fit.group.worldSize
      let start = first + fit.group.rank * perRank
      rounds.append(Round(images: count, mine: start..<start + perRank))
      first += count
    }
    self.rounds = rounds
    let requests = rounds.flatMap { PatchSource.requests($0.mine) }
    let sampler = fit.sampler
    loader = try BatchLoader(
      index: fit.index,
      transform: .training(fit.configuration.viewPlan([fit.configuration.encoderView])),
      options: fit.loaderOptions
    ) { request in
      request < requests.count ? requests[request].map { sampler.sample(at: $0) } : nil
    }
  }

  deinit { loader.stop() }

  /// `[images * perImage, C p p]` of the next round, the same on every rank. Collective.
  func next() throws -> Tensor {
    let current = rounds[round]
    round += 1
    let local = try Agreement(fit.group).run { try load(current) }
    let all = try fit.group.allGather(
      Array(
        UnsafeRawBufferPointer(
          start: local.pointer, count: local.count * MemoryLayout<Float>.stride)))
    let patches = Tensor(uninitialized: [current.images * fit.perImage, local.columns])
    all.withUnsafeBytes { source in
      guard let base = source.baseAddress else { return }
      UnsafeMutableRawPointer(patches.pointer).copyMemory(
        from: base, byteCount: patches.count * MemoryLayout<Float>.stride)
    }
    return patches
  }

  private func load(_ round: Round) throws -> Tensor {
    let model = fit.configuration.model
    let patches = Tensor(uninitialized: [round.mine.count * fit.perImage, model.patchValues])
    var row = 0
    for _ in PatchSource.requests(round.mine) {
      guard let batch = try loader.next() else { break }
      let all = KMeansTokenizer.patches(
        of: batch.views[0], patchSize: model.patchSize, pool: fit.pool)
      for (image, key) in batch.keys.enumerated() {
        for patch in choose(key) {
          (patches.pointer + row * model.patchValues).update(
            from: all.pointer + (image * model.patchCount + patch) * model.patchValues,
            count: model.patchValues)
          row += 1
        }
      }
    }
    return patches
  }

  private static func requests(_ positions: Range<Int>) -> [Range<Int>] {
    stride(from: positions.lowerBound, to: positions.upperBound, by: imagesPerRequest).map {
      $0..<min($0 + imagesPerRequest, positions.upperBound)
    }
  }

  /// Which patches of an image are used: a function of the sample alone.
  private func choose(_ key: SampleKey) -> [Int] {
    var random = CounterRandom(
      seed: fit.sampler.seed, epoch: key.epoch, sample: key.sample, stream: .tokenizer)
    return Array(
      (0..<fit.configuration.model.patchCount).shuffled(using: &random).prefix(fit.perImage))
  }
}
