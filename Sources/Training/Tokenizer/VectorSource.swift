import Interfaces
import Models
import ShardedData
import TensorCore

/// Vectors of the patches of images in the sampler's order: each rank loads a part of every round,
/// all get the whole.
final class VectorSource {
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
    let requests = rounds.flatMap { VectorSource.requests($0.mine) }
    let sampler = fit.sampler
    loader = try BatchLoader(
      index: fit.index,
      transform: .training(fit.configuration.viewPlan([fit.vectors.view])),
      options: fit.loaderOptions
    ) { request in
      request < requests.count ? requests[request].map { sampler.sample(at: $0) } : nil
    }
  }

  deinit { loader.stop() }

  /// `[images * perImage, width]` of the next round, the same on every rank. Collective.
  func next() throws -> Tensor {
    let current = rounds[round]
    round += 1
    let local = try Agreement(fit.group).run { try load(current) }
    let all = try fit.group.allGather(
      Array(
        UnsafeRawBufferPointer(
          start: local.pointer, count: local.count * MemoryLayout<Float>.stride)))
    let vectors = Tensor(uninitialized: [current.images * fit.perImage, local.columns])
    all.withUnsafeBytes { source in
      guard let base = source.baseAddress else { return }
      UnsafeMutableRawPointer(vectors.pointer).copyMemory(
        from: base, byteCount: vectors.count * MemoryLayout<Float>.stride)
    }
    return vectors
  }

  private func load(_ round: Round) throws -> Tensor {
    let (width, count) = (fit.vectors.width, fit.vectors.grid * fit.vectors.grid)
    let vectors = Tensor(uninitialized: [round.mine.count * fit.perImage, width])
    var row = 0
    for _ in VectorSource.requests(round.mine) {
      guard let batch = try loader.next() else { break }
      let all = fit.vectors.vectors(of: batch.views[0], pool: fit.pool)
      try all.requireFinite(
        of: batch, from: fit.configuration.data.train[0], by: fit.vectorsName)
      for (image, key) in batch.keys.enumerated() {
        for patch in choose(key) {
          (vectors.pointer + row * width).update(
            from: all.pointer + (image * count + patch) * width, count: width)
          row += 1
        }
      }
    }
    return vectors
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
      (0..<fit.vectors.grid * fit.vectors.grid).shuffled(using: &random).prefix(fit.perImage))
  }
}
