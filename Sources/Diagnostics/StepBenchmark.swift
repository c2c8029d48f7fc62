import Foundation
public import Interfaces
import Models
import NN
import TensorCore

/// `cae-dist bench step`: full training steps of CAE on generated images, against the rate of the
/// matrix products alone, measured in the same process.
public struct StepBenchmark {
  public struct Options: Sendable {
    public var model: String
    public var batch: Int
    public var threads: Int
    public var imageSize: Int
    public var repeats: Int
    /// `section.key=value` of a run's configuration.
    public var overrides: [String]

    public init(
      model: String, batch: Int, threads: Int, imageSize: Int, repeats: Int, overrides: [String]
    ) {
      self.model = model
      self.batch = batch
      self.threads = threads
      self.imageSize = imageSize
      self.repeats = repeats
      self.overrides = overrides
    }
  }

  public struct Report: Encodable, Sendable {
    public let imagesPerSecond: Double
    public let bestImagesPerSecond: Double
    public let gflopPerImage: Double
    public let gflops: Double
    public let sgemmGflops: Double
    /// `gflops / sgemmGflops`.
    public let efficiency: Double
    public let peakResidentBytes: Int
    public let peakActivationBytes: Int
    /// Milliseconds of a step by kind, averaged over the threads; the sum is the step. `waiting`
    /// is the threads' time without work, `other` the calling thread's outside of kernels.
    public let breakdown: [String: Double]

    public var lines: [String] {
      [
        String(
          format: "%.3f images/s median, %.3f best; %.1f GFLOP an image", imagesPerSecond,
          bestImagesPerSecond, gflopPerImage),
        String(
          format: "%.1f GFLOP/s of %.1f in the products alone: efficiency %.3f", gflops,
          sgemmGflops, efficiency),
        String(
          format: "peak memory %.2f GB, of it activations %.2f GB", Double(peakResidentBytes) / 1e9,
          Double(peakActivationBytes) / 1e9),
      ]
        + breakdown.sorted { $0.value > $1.value }.map { kind, milliseconds in
          String(
            format: "%10.1f ms %5.1f %%  %@", milliseconds,
            100 * milliseconds / breakdown.values.reduce(0, +), kind)
        }
    }
  }

  private let options: Options
  private let setup: BenchmarkSetup
  private let pool: ThreadPool
  private let clock: KernelClock

  public init(_ options: Options) throws(ConfigurationError) {
    guard options.batch > 0, options.repeats > 0 else {
      throw ConfigurationError("bench step", "--batch and --repeats must be above 0")
    }
    self.options = options
    setup = try BenchmarkSetup(
      model: options.model, imageSize: options.imageSize, threads: options.threads,
      overrides: options.overrides)
    clock = KernelClock(threadCount: setup.threads)
    pool = ThreadPool(threadCount: setup.threads, clock: clock)
  }

  public func run() -> Report {
    let cost = setup.cost
    let products = ProductBenchmark(cost, batch: options.batch, pool: pool)
    let before = products.run().gflops
    // The step's own memory is reported: that of the products must not count.
    MemoryPool.shared.trim()
    let (times, breakdown) = measureSteps()
    let peakActivationBytes = MemoryPool.shared.peakUsedBytes
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let rate = (before + products.run().gflops) / 2
    let perSecond = times.map { Double(options.batch) / $0 }.sorted()
    let median = perSecond[perSecond.count / 2]
    let gflop = cost.flopsPerImage / 1e9
    return Report(
      imagesPerSecond: median, bestImagesPerSecond: perSecond[perSecond.count - 1],
      gflopPerImage: gflop, gflops: median * gflop, sgemmGflops: rate,
      efficiency: median * gflop / rate, peakResidentBytes: usage.ru_maxrss * 1024,
      peakActivationBytes: peakActivationBytes, breakdown: breakdown)
  }

  /// Seconds of each counted step, and where the threads spent them; one step warms the pool up.
  private func measureSteps() -> (times: [Double], breakdown: [String: Double]) {
    let tree = ParameterTree()
    let network = CAENetwork(
      setup.model, setup.method, vocabularySize: BenchmarkSetup.vocabularySize, in: tree)
    let heap = HeapAllocator()
    let parameters = FlatBuffer(for: tree, allocator: heap, purpose: "parameters")
    let gradients = FlatBuffer(for: tree, allocator: heap, purpose: "gradients")
    parameters.initialize(tree, seed: 0)
    let optimizer = AdamW(AdamWConfiguration(), for: tree, allocator: heap)
    let tape = Tape(parameters: parameters, pool: pool)
    tape.keepsBlockInputsOnly = setup.keepsBlockInputsOnly
    let sink = FlatGradientSink(gradients, for: tree)
    let (images, mask, targets) = inputs()
    let context = ForwardContext(
      tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    MemoryPool.shared.resetPeak()
    var times: [Double] = []
    var before = reading()
    for step in 0...options.repeats {
      if step == 1 { before = reading() }
      let started = ProcessInfo.processInfo.systemUptime
      sink.beginStep()
      let result = network.forward(images: images, mask: mask, targets: targets, context)
      tape.backward(
        from: [
          (result.reconstruction.variable, 1),
          (result.alignment.variable, Float(setup.method.alignmentWeight)),
        ], into: sink)
      sink.endStep()
      _ = optimizer.update(
        parameters, gradients: gradients, gradientCount: 1, learningRate: 1e-4, step: step + 1,
        pool: pool)
      if step > 0 { times.append(ProcessInfo.processInfo.systemUptime - started) }
    }
    return (times, breakdown(from: before, to: reading(), times: times))
  }

  private struct Reading {
    let kinds: [KernelKind: Double]
    let ofCaller: Double
  }

  private func reading() -> Reading {
    let kinds = KernelKind.allCases.map { ($0, clock.seconds($0)) }
    return Reading(
      kinds: Dictionary(uniqueKeysWithValues: kinds), ofCaller: clock.secondsInKernelsOfCaller)
  }

  private func breakdown(
    from before: Reading, to after: Reading, times: [Double]
  ) -> [String: Double] {
    let steps = Double(times.count)
    let total = times.reduce(0, +)
    let perStep = 1e3 / (Double(setup.threads) * steps)
    var breakdown: [String: Double] = [:]
    for kind in KernelKind.allCases {
      breakdown[kind.rawValue] = ((after.kinds[kind] ?? 0) - (before.kinds[kind] ?? 0)) * perStep
    }
    let other = (total - (after.ofCaller - before.ofCaller)) * perStep
    breakdown["other"] = other
    breakdown["waiting"] = total * 1e3 / steps - breakdown.values.reduce(0, +)
    return breakdown
  }

  private func inputs() -> (Tensor, PatchMask, TokenIndices) {
    var random = CounterRandom(seed: 1, stream: .synthetic)
    let size = setup.model.imageSize
    let images = Tensor(uninitialized: [options.batch, setup.model.channels, size, size])
    for index in 0..<images.count { images.pointer[index] = Float(random.uniform(-2, 2)) }
    let patches = Array(0..<setup.model.patchCount)
    let rows = (0..<options.batch).map { _ in
      let masked = Set(patches.shuffled(using: &random).prefix(setup.method.numMaskedPatches))
      return patches.map(masked.contains)
    }
    let mask = PatchMask(rows: rows)
    let targets = mask.masked.map { _ in
      Int32(random.integer(below: BenchmarkSetup.vocabularySize))
    }
    return (images, mask, TokenIndices(targets))
  }
}
