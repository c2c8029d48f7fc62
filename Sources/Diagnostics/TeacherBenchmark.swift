import DataParallel
import Foundation
import Interfaces
import Models
import NN
import TensorCore
import Training

/// `cae-dist bench teacher`: features of a teacher, and training steps of CAE v2 that are given them,
/// in turns in one process: what a teacher costs that runs in every step.
public struct TeacherBenchmark {
  public struct Options: Sendable {
    /// File of weights.
    public var teacher: String
    public var model: String
    public var threads: Int
    public var images: Int
    public var repeats: Int

    public init(teacher: String, model: String, threads: Int, images: Int, repeats: Int) {
      (self.teacher, self.model) = (teacher, model)
      (self.threads, self.images, self.repeats) = (threads, images, repeats)
    }
  }

  public struct Report: Encodable, Sendable {
    /// Of the teacher.
    public let imagesPerSecond: Double
    public let gflopPerImage: Double
    public let gflops: Double
    /// Of the products of a step of CAE of this size, measured in the same process.
    public let sgemmGflops: Double
    /// `gflops / sgemmGflops`.
    public let efficiency: Double
    /// Of steps that are given their features.
    public let stepImagesPerSecond: Double
    /// Of steps that compute them.
    public let wholeStepImagesPerSecond: Double
    /// Share of such a step's time that the teacher takes.
    public let shareOfStep: Double

    public var lines: [String] {
      [
        String(
          format: "teacher %.3f images/s; %.2f GFLOP an image", imagesPerSecond, gflopPerImage),
        String(
          format: "%.1f GFLOP/s of %.1f in the products of a step alone: efficiency %.3f", gflops,
          sgemmGflops, efficiency),
        String(
          format: "a step %.3f images/s with precomputed features, %.3f on the fly: the teacher "
            + "takes %.1f %%", stepImagesPerSecond, wholeStepImagesPerSecond, 100 * shareOfStep),
      ]
    }
  }

  private static let grid = 14
  /// As in Configs/cae-v2-*.yaml: masked patches and depth of the regressor; others are as base.
  private static let ofSmallModels = ["tiny": (30, 1), "small": (49, 1)]

  /// Medians of the repeats.
  public static func run(_ options: Options) throws -> Report {
    guard options.images > 0, options.repeats > 0 else {
      throw ConfigurationError("bench teacher", "--images and --repeats must be above 0")
    }
    let setup = try BenchmarkSetup(
      model: options.model, imageSize: 16 * grid, threads: options.threads, overrides: [])
    let pool = ThreadPool(threadCount: setup.threads)
    let teacher = try TeacherFile.open(
      options.teacher, key: "TEACHER", channels: setup.model.channels, grid: grid)
    let sgemm = ProductBenchmark(setup.cost, batch: options.images, pool: pool).run().gflops
    MemoryPool.shared.trim()
    let step = try Step(
      setup, model: options.model, teacher, images: options.images, pool)
    // One that warms up is not counted.
    let times = try (0...options.repeats).map { try step.run($0) }.dropFirst()
    func rate(_ seconds: [Double]) -> Double {
      Double(options.images) / seconds.sorted()[seconds.count / 2]
    }
    let perSecond = rate(times.map(\.teacher))
    let gflop = teacher.flopsPerImage / 1e9
    let shares = times.map { $0.teacher / ($0.teacher + $0.rest) }.sorted()
    return Report(
      imagesPerSecond: perSecond, gflopPerImage: gflop, gflops: perSecond * gflop,
      sgemmGflops: sgemm, efficiency: perSecond * gflop / sgemm,
      stepImagesPerSecond: rate(times.map(\.rest)),
      wholeStepImagesPerSecond: rate(times.map { $0.teacher + $0.rest }),
      shareOfStep: shares[shares.count / 2])
  }

  /// A training step on one rank, of the method that a run would have.
  private struct Step {
    private let teacher: any FeatureTeacher
    private let method: CAEv2
    private let optimizer: DistributedOptimizer
    private let pool: ThreadPool
    private let keys: [SampleKey]
    private let images: Tensor
    private let pictures: Tensor

    init(
      _ setup: BenchmarkSetup, model: String, _ teacher: any FeatureTeacher, images count: Int,
      _ pool: ThreadPool
    ) throws {
      (self.teacher, self.pool) = (teacher, pool)
      var configuration = CAEv2.Configuration()
      if let (masked, depth) = TeacherBenchmark.ofSmallModels[model] {
        (configuration.numMaskedPatches, configuration.regressorDepth) = (masked, depth)
      }
      (configuration.decoderDim, configuration.decoderHeads) = (
        setup.method.decoderDim, setup.method.decoderHeads
      )
      let (width, grid) = (teacher.width, teacher.grid)
      let view = ViewSpecification(
        size: setup.model.imageSize, filter: .bicubic, mean: [0, 0, 0],
        standardDeviation: [1, 1, 1])
      method = try CAEv2(
        configuration,
        MethodContext(
          model: setup.model, encoderView: view,
          openTokens: { (_) throws(ConfigurationError) in
            throw ConfigurationError("bench teacher", "has no tokens")
          },
          openFeatures: { (_) throws(ConfigurationError) in .stored(width: width, grid: grid) }))
      optimizer = try DistributedOptimizer(
        method.parameters, AdamWConfiguration(), setup.exchange, microBatches: 1,
        group: SingleProcessGroup(), stallGuard: StallGuard(), pool: pool)
      optimizer.parameters.initialize(method.parameters, seed: 0)
      keys = (0..<count).map { SampleKey(epoch: 0, sample: $0) }
      images = Step.random(count, size: setup.model.imageSize)
      pictures = Step.random(count, size: teacher.view.size)
    }

    private static func random(_ count: Int, size: Int) -> Tensor {
      var random = CounterRandom(seed: 1, stream: .synthetic)
      let images = Tensor(uninitialized: [count, 3, size, size])
      for index in 0..<images.count { images.pointer[index] = Float(random.uniform(-2, 2)) }
      return images
    }

    /// Seconds of the teacher, and of the step that is given its features.
    func run(_ number: Int) throws -> (teacher: Double, rest: Double) {
      let started = ProcessInfo.processInfo.systemUptime
      let features = teacher.features(of: pictures, pool: pool)
      let taught = ProcessInfo.processInfo.systemUptime
      optimizer.beginStep()
      optimizer.beginMicroBatch(0)
      let tape = Tape(parameters: optimizer.parameters, pool: pool)
      let output = method.losses(
        for: Batch(
          keys: keys, views: [images], labels: keys.map { _ in 0 }, targets: .features(features)),
        ForwardContext(
          tape: tape, keys: keys, step: StepInfo(step: number, totalSteps: 1, seed: 0)))
      tape.backward(
        from: output.terms.map { ($0.loss.variable, Float($0.weight)) }, into: optimizer.sink)
      try optimizer.endMicroBatch()
      try optimizer.finishExchange()
      _ = try optimizer.update(
        try optimizer.summarize(gradientCount: 1), gradientCount: 1, learningRate: 1e-4,
        step: number + 1)
      return (taught - started, ProcessInfo.processInfo.systemUptime - taught)
    }
  }
}
