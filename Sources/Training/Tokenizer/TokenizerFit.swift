import DataParallel
import Foundation
public import Interfaces
public import Models
import ShardedData
import TensorCore

/// Learns a k-means codebook of vectors of the patches, all ranks together.
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
    /// File of the teacher whose features are coded; nil: the pixels of patches are.
    public var teacher: String?

    public init(vocabularySize: Int, iterations: Int, teacher: String? = nil) {
      self.vocabularySize = vocabularySize
      self.iterations = iterations
      self.teacher = teacher
    }
  }

  /// What was learned, and how the codes are used on the last patches.
  public struct Outcome {
    public let tokenizer: KMeansTokenizer
    public let shares: [Double]
  }

  /// Vectors of a mini-batch.
  private static let batch = 4096
  /// Rows of one search for nearest codes: fixed, so that ranks do not change the result.
  private static let slab = 256

  let configuration: TrainingConfiguration
  let group: any ProcessGroup
  let pool: ThreadPool
  let index: ShardIndex
  let sampler: DistributedSampler
  let loaderOptions: LoaderOptions
  let vectors: any PatchVectors
  /// Who makes them, for errors.
  var vectorsName: String { options.teacher ?? "normalization" }
  private let options: Options

  public init(
    _ configuration: TrainingConfiguration, _ options: Options, group: any ProcessGroup,
    cores: Int
  ) throws {
    // The start takes time with the square of the vocabulary; published ones have 8192 codes.
    guard (2...65_536).contains(options.vocabularySize) else {
      throw ConfigurationError(
        "--vocabulary", "must be between 2 and 65536, not \(options.vocabularySize)")
    }
    guard options.iterations > 0 else {
      throw ConfigurationError("--iterations", "must be at least 1, not \(options.iterations)")
    }
    self.configuration = configuration
    self.options = options
    self.group = group
    let model = configuration.model
    vectors =
      try options.teacher.map {
        FeatureDirections(
          try TeacherFile.open(
            $0, key: "--features", channels: model.channels, grid: model.grid))
      } ?? StandardizedPatches(patchSize: model.patchSize, view: configuration.encoderView)
    index = try ShardIndex(paths: configuration.data.train)
    try TrainingRun.requireChannels(of: index, configuration)
    sampler = DistributedSampler(
      count: index.count, seed: UInt64(configuration.run.seed), windowSize: index.windowSize())
    pool = ThreadPool(
      threadCount: ThreadCount.resolve(
        configuration.parallelism.threadsPerRank, cores: cores))
    loaderOptions = configuration.loaderOptions(
      kernelThreads: pool.threadCount, cores: cores)
  }

  /// Collective. Blocking.
  public func run(progress: (Int, Int) -> Void) throws -> Outcome {
    let startImages = max(imagesPerIteration, 4 * options.vocabularySize / perImage + 1)
    let rounds =
      [startImages] + [Int](repeating: imagesPerIteration, count: options.iterations)
      + [4 * imagesPerIteration]
    let source = try Agreement(group).run { try VectorSource(self, rounds: rounds) }
    let codebook = try kMeansPlusPlus(try source.next())
    var counts = [Float](repeating: 1, count: options.vocabularySize)
    for iteration in 0..<options.iterations {
      let patches = try source.next()
      update(codebook, &counts, patches, try nearest(patches, codebook))
      progress(iteration + 1, options.iterations)
    }
    let check = try nearest(try source.next(), codebook)
    var shares = [Double](repeating: 0, count: options.vocabularySize)
    for code in check { shares[Int(code)] += 1 / Double(check.count) }
    return Outcome(
      tokenizer: try KMeansTokenizer(Codebook(codebook), of: vectors), shares: shares)
  }

  /// Patches that one image gives.
  var perImage: Int { min(vectors.perImage, vectors.grid * vectors.grid) }

  private var imagesPerIteration: Int { max(1, TokenizerFit.batch / perImage) }

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
      pool.runSlabs(of: rows, as: .elementwise) { slab, _ in
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
      codes = Codebook(codebook).nearest(to: part, pool: pool)
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

  /// `exp(entropy)`: how many equally frequent codes would be as uncertain.
  static func perplexity(_ shares: [Double]) -> Double {
    exp(-shares.reduce(0) { $0 + ($1 > 0 ? $1 * log($1) : 0) })
  }
}
