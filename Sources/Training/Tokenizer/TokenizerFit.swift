import DataParallel
import Foundation
public import Interfaces
public import Models
import ShardedData
import TensorCore

/// Learns a k-means codebook of patch vectors, all ranks together.
///
/// k-means++ start on a pool of patches, then mini-batch updates: every patch pulls its nearest
/// code by 1 / (patches the code has had). Ranks load different images and find the nearest codes
/// of different patches, in slabs of fixed size; sums are made by every rank alike in patch order.
/// So the codebook depends on seed and data, not on the number of ranks.
///
/// - SeeAlso: Arthur and Vassilvitskii, SODA 2007; Sculley, WWW 2010.
public final class TokenizerFit {
  public struct Options: Sendable {
    public var vocabularySize: Int
    public var iterations: Int

    public init(vocabularySize: Int, iterations: Int) {
      self.vocabularySize = vocabularySize
      self.iterations = iterations
    }
  }

  /// What was learned, and how the codes are used on the last patches.
  public struct Outcome {
    public let tokenizer: KMeansTokenizer
    public let shares: [Double]
  }

  /// Patches that one image gives, so that a mini-batch sees many images.
  private static let patchesPerImage = 16
  private static let patchesPerIteration = 4096
  private static let slab = 256

  private let configuration: TrainingConfiguration
  private let options: Options
  private let group: any ProcessGroup
  private let pool: ThreadPool
  private let index: ShardIndex
  private let sampler: DistributedSampler
  /// Images read so far, over all ranks.
  private var position = 0

  public init(
    _ configuration: TrainingConfiguration, _ options: Options, group: any ProcessGroup,
    localSize: Int
  ) throws {
    guard options.vocabularySize > 1, options.iterations > 0 else {
      throw ConfigurationError("--vocabulary", "must be at least 2, and --iterations at least 1")
    }
    self.configuration = configuration
    self.options = options
    self.group = group
    index = try ShardIndex(paths: configuration.data.train)
    guard index.imageShape.channels == configuration.model.channels else {
      throw ConfigurationError(
        "model.channels", "the images have \(index.imageShape.channels) channels")
    }
    sampler = DistributedSampler(count: index.count, seed: UInt64(configuration.run.seed))
    pool = ThreadPool(
      threadCount: ThreadCount.resolve(
        configuration.parallelism.threadsPerRank, localSize: localSize))
  }

  /// Collective. Blocking.
  public func run(progress: (Int, Int) -> Void) throws -> Outcome {
    let pools = max(1, (4 * options.vocabularySize + TokenizerFit.patchesPerIteration - 1)
      / TokenizerFit.patchesPerIteration)
    let start = try gather(iterations: pools)
    let codebook = try kMeansPlusPlus(start)
    var counts = [Float](repeating: 1, count: options.vocabularySize)
    for iteration in 0..<options.iterations {
      let patches = try gather(iterations: 1)
      let codes = try nearest(patches, codebook)
      update(codebook, &counts, patches, codes)
      progress(iteration + 1, options.iterations)
    }
    let check = try nearest(try gather(iterations: 4), codebook)
    var shares = [Double](repeating: 0, count: options.vocabularySize)
    for code in check { shares[Int(code)] += 1 / Double(check.count) }
    return Outcome(tokenizer: try tokenizer(codebook), shares: shares)
  }

  private func tokenizer(_ codebook: Tensor) throws -> KMeansTokenizer {
    try KMeansTokenizer(
      codebook: codebook, patchSize: configuration.model.patchSize,
      view: configuration.encoderView)
  }

  /// Patches of the next images of the sampler's order, the same on every rank.
  private func gather(iterations: Int) throws -> Tensor {
    let model = configuration.model
    let perImage = min(TokenizerFit.patchesPerImage, model.patchCount)
    let wanted = iterations * TokenizerFit.patchesPerIteration / perImage
    let perRank = (wanted + group.worldSize - 1) / group.worldSize
    let mine = position + group.rank * perRank..<position + (group.rank + 1) * perRank
    let local = try Agreement(group).run {
      try localPatches(mine, perImage: perImage)
    }
    // Ranks whose share goes beyond the wanted images still load them: counts must agree.
    position += wanted
    let all = try group.allGather(TokenizerFit.bytes(of: local))
    let patches = Tensor(uninitialized: [wanted * perImage, model.patchValues])
    all.withUnsafeBytes { source in
      UnsafeMutableRawPointer(patches.pointer).copyMemory(
        from: source.baseAddress!, byteCount: patches.count * MemoryLayout<Float>.stride)
    }
    return patches
  }

  private func localPatches(_ positions: Range<Int>, perImage: Int) throws -> Tensor {
    let model = configuration.model
    let sampler = self.sampler
    let loader = try BatchLoader(
      index: index, transform: .training(configuration.viewPlan([configuration.encoderView])),
      seed: sampler.seed
    ) { request in
      let first = positions.lowerBound + request * TokenizerFit.slab
      guard first < positions.upperBound else { return nil }
      return (first..<min(first + TokenizerFit.slab, positions.upperBound)).map {
        sampler.sample(at: $0)
      }
    }
    defer { loader.stop() }
    let patches = Tensor(uninitialized: [positions.count * perImage, model.patchValues])
    var row = 0
    while let batch = try loader.next() {
      let all = KMeansTokenizer.patches(
        of: batch.views[0], patchSize: model.patchSize, pool: pool)
      for (image, key) in batch.keys.enumerated() {
        for patch in choose(perImage, key) {
          let source = all.pointer + (image * model.patchCount + patch) * model.patchValues
          (patches.pointer + row * model.patchValues).update(
            from: source, count: model.patchValues)
          row += 1
        }
      }
    }
    return patches
  }

  /// Which patches of an image are used: a function of the sample alone.
  private func choose(_ count: Int, _ key: SampleKey) -> [Int] {
    var random = CounterRandom(
      seed: sampler.seed, epoch: key.epoch, sample: key.sample, stream: .tokenizer)
    return Array((0..<configuration.model.patchCount).shuffled(using: &random).prefix(count))
  }

  /// The first codes: each the next patch with a probability that is proportional to its squared
  /// distance from the codes so far. Every rank computes the same.
  private func kMeansPlusPlus(_ patches: Tensor) throws -> Tensor {
    let (rows, values) = (patches.rows, patches.columns)
    guard rows >= options.vocabularySize else {
      throw ConfigurationError("--vocabulary", "is larger than the \(rows) patches to start from")
    }
    var random = CounterRandom(seed: sampler.seed, stream: .tokenizer)
    let codebook = Tensor(uninitialized: [options.vocabularySize, values])
    let distances = Tensor(repeating: .infinity, shape: [rows])
    var chosen = random.integer(below: rows)
    for code in 0..<options.vocabularySize {
      let center = codebook.pointer + code * values
      center.update(from: patches.pointer + chosen * values, count: values)
      pool.runSlabs(of: rows) { slab, _ in
        for row in slab {
          let distance = TokenizerFit.squaredDistance(
            patches.pointer + row * values, center, count: values)
          distances.pointer[row] = min(distances.pointer[row], distance)
        }
      }
      chosen = draw(distances, random.uniform())
    }
    return codebook
  }

  private func draw(_ weights: Tensor, _ quantile: Double) -> Int {
    let total = (0..<weights.count).reduce(0.0) { $0 + Double(weights.pointer[$1]) }
    var left = quantile * total
    for index in 0..<weights.count {
      left -= Double(weights.pointer[index])
      if left < 0 { return index }
    }
    return weights.count - 1
  }

  /// Nearest codes of all patches; each rank finds those of some slabs.
  private func nearest(_ patches: Tensor, _ codebook: Tensor) throws -> [Int32] {
    let (rows, values) = (patches.rows, patches.columns)
    let slabs = (rows + TokenizerFit.slab - 1) / TokenizerFit.slab
    let perRank = (slabs + group.worldSize - 1) / group.worldSize * TokenizerFit.slab
    let start = min(rows, group.rank * perRank)
    let count = min(perRank, rows - start)
    var codes: [Int32] = []
    if count > 0 {
      let part = Tensor(
        storage: patches.storage, offset: patches.offset + start * values, shape: [count, values])
      codes = try tokenizer(codebook).nearestCodes(to: part, pool: pool)
    }
    codes += [Int32](repeating: 0, count: perRank - codes.count)
    let all = try group.allGather(codes.withUnsafeBytes { Array($0) })
    return all.withUnsafeBytes { Array($0.bindMemory(to: Int32.self).prefix(rows)) }
  }

  private func update(
    _ codebook: Tensor, _ counts: inout [Float], _ patches: Tensor, _ codes: [Int32]
  ) {
    let values = codebook.columns
    for (row, code) in codes.enumerated() {
      counts[Int(code)] += 1
      let rate = 1 / counts[Int(code)]
      let center = codebook.pointer + Int(code) * values
      let patch = patches.pointer + row * values
      for index in 0..<values { center[index] += rate * (patch[index] - center[index]) }
    }
  }

  private static func squaredDistance(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int
  ) -> Float {
    var sum: Float = 0
    for index in 0..<count { sum += (a[index] - b[index]) * (a[index] - b[index]) }
    return sum
  }

  private static func bytes(of tensor: Tensor) -> [UInt8] {
    Array(
      UnsafeRawBufferPointer(
        start: tensor.pointer, count: tensor.count * MemoryLayout<Float>.stride))
  }

  /// `exp(entropy)`: how many equally frequent codes would be as uncertain.
  static func perplexity(_ shares: [Double]) -> Double {
    exp(-shares.reduce(0) { $0 + ($1 > 0 ? $1 * log($1) : 0) })
  }
}
