public import DataParallel
import Foundation
import Interfaces
import Models
import TensorCore
import Training

/// `cae-dist bench tokenizer`: tokens of the DALL-E encoder at its published sizes, random weights,
/// for images of 224 pixels (112 for the encoder), beside a training step of CAE-B.
public struct TokenizerBenchmark {
  public struct Options: Sendable {
    public var threads: Int
    public var images: Int
    public var repeats: Int

    public init(threads: Int, images: Int, repeats: Int) {
      self.threads = threads
      self.images = images
      self.repeats = repeats
    }
  }

  /// Of one rank.
  public struct Report: Encodable, Sendable {
    public let imagesPerSecond: Double
    public let bestImagesPerSecond: Double
    public let gflopPerImage: Double
    public let gflops: Double
    /// Of the products of a CAE-B step, measured in the same process.
    public let sgemmGflops: Double
    /// `gflops / sgemmGflops`.
    public let efficiency: Double
    /// Of a step with given tokens, as `bench step` measures it.
    public let stepImagesPerSecond: Double
    /// Share of a step's time that its tokens take, where they are not given.
    public let shareOfStep: Double
    public let peakActivationBytes: Int

    public var lines: [String] {
      [
        String(
          format: "%.3f images/s median, %.3f best; %.1f GFLOP an image", imagesPerSecond,
          bestImagesPerSecond, gflopPerImage),
        String(
          format: "%.1f GFLOP/s of %.1f in the products of CAE-B alone: efficiency %.3f", gflops,
          sgemmGflops, efficiency),
        String(
          format: "CAE-B without tokens %.3f images/s: tokens take %.1f %% of a step",
          stepImagesPerSecond, 100 * shareOfStep),
        String(format: "activations %.0f MB", Double(peakActivationBytes) / 1e6),
      ]
    }
  }

  private static let imageSize = 224
  private static let grid = 14

  /// Collective. Blocking.
  ///
  /// - Returns: On rank 0 the report.
  public static func run(_ options: Options, on cluster: Cluster) throws -> Report? {
    try Agreement(cluster.group).run {
      guard options.images > 0, options.repeats > 0 else {
        throw ConfigurationError("bench tokenizer", "--images and --repeats must be above 0")
      }
    }
    let step = try StepBenchmark.run(
      StepBenchmark.Options(
        model: "base", batch: options.images, threads: options.threads, imageSize: imageSize,
        repeats: options.repeats, overrides: []), on: cluster)
    guard let step else { return nil }
    MemoryPool.shared.trim()
    let encoder = try randomEncoder()
    let setup = try BenchmarkSetup(
      model: "base", imageSize: imageSize, threads: options.threads, overrides: [])
    MemoryPool.shared.trim()
    let (perSecond, peak) = measure(
      DALLETokenizer(encoder, grid: grid), options, ThreadPool(threadCount: setup.threads))
    let median = perSecond[perSecond.count / 2]
    let gflop = encoder.flops(imageSize: encoder.reduction * grid) / 1e9
    let perRank = step.imagesPerSecond / Double(step.ranks)
    return Report(
      imagesPerSecond: median, bestImagesPerSecond: perSecond[perSecond.count - 1],
      gflopPerImage: gflop, gflops: median * gflop, sgemmGflops: step.sgemmGflops,
      efficiency: median * gflop / step.sgemmGflops, stepImagesPerSecond: perRank,
      shareOfStep: perRank / (perRank + median), peakActivationBytes: peak)
  }

  /// Images a second, ascending, and bytes of activations; one run warms up.
  private static func measure(
    _ tokenizer: DALLETokenizer, _ options: Options, _ pool: ThreadPool
  ) -> (perSecond: [Double], peakBytes: Int) {
    var random = CounterRandom(seed: 1, stream: .synthetic)
    let size = tokenizer.view.size
    let images = Tensor(uninitialized: [options.images, 3, size, size])
    for index in 0..<images.count { images.pointer[index] = Float(random.uniform(0.1, 0.9)) }
    // What is in use before: weights and images.
    MemoryPool.shared.resetPeak()
    let before = MemoryPool.shared.peakUsedBytes
    let perSecond = (0...options.repeats).map { _ in
      let started = ProcessInfo.processInfo.systemUptime
      _ = tokenizer.tokens(for: images, pool: pool)
      return Double(options.images) / (ProcessInfo.processInfo.systemUptime - started)
    }
    return (perSecond.dropFirst().sorted(), MemoryPool.shared.peakUsedBytes - before)
  }

  /// Uniform weights of the variance that training starts with, `1 / (inputs k^2)`.
  private static func randomEncoder() throws(ConfigurationError) -> DALLEEncoder {
    var random = CounterRandom(seed: 2, stream: .synthetic)
    let shapes = Dictionary(
      uniqueKeysWithValues: DALLEEncoder.tensorShapes(
        hiddenWidth: 256, vocabularySize: BenchmarkSetup.vocabularySize
      ).map { ($0.name, $0.shape) })
    return try DALLEEncoder(
      NamedTensors(source: "random weights") { (name) throws(ConfigurationError) in
        guard let shape = shapes[name] else { return nil }
        let bound = shape.rank == 1 ? 0 : (3 * Double(shape[0]) / Double(shape.count)).squareRoot()
        let tensor = Tensor(uninitialized: shape)
        for index in 0..<tensor.count {
          tensor.pointer[index] = Float(random.uniform(-bound, bound))
        }
        return tensor
      })
  }
}
