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
    public var keepsBlockInputsOnly: Bool

    public init(
      model: String, batch: Int, threads: Int, imageSize: Int, repeats: Int,
      keepsBlockInputsOnly: Bool
    ) {
      self.model = model
      self.batch = batch
      self.threads = threads
      self.imageSize = imageSize
      self.repeats = repeats
      self.keepsBlockInputsOnly = keepsBlockInputsOnly
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

  private static let vocabularySize = 8192
  private let options: Options
  private let model: VisionTransformerConfiguration
  private let method: CAE.Configuration
  private let pool: ThreadPool
  private let clock: KernelClock

  public init(_ options: Options) throws(ConfigurationError) {
    let models: [String: VisionTransformerConfiguration] = [
      "tiny": .tiny, "small": .small, "base": .base, "large": .large,
    ]
    guard var model = models[options.model] else {
      throw ConfigurationError("--model", "must be tiny, small, base or large")
    }
    model.imageSize = options.imageSize
    model.dropPathRate = 0
    try model.validate()
    guard options.batch > 0, options.repeats > 0, (1...64).contains(options.threads) else {
      throw ConfigurationError(
        "bench step", "--batch and --repeats must be above 0, --threads from 1 to 64")
    }
    var method = CAE.Configuration()
    method.decoderDim = model.embedDim
    method.decoderHeads = model.numHeads
    method.numMaskedPatches = model.patchCount / 2
    self.options = options
    self.model = model
    self.method = method
    clock = KernelClock(threadCount: options.threads)
    pool = ThreadPool(threadCount: options.threads, clock: clock)
  }

  public func run() -> Report {
    let cost = StepCost(model, method, vocabularySize: StepBenchmark.vocabularySize)
    let before = productRate(cost)
    let (times, breakdown) = measureSteps()
    let rate = (before + productRate(cost)) / 2
    let perSecond = times.map { Double(options.batch) / $0 }.sorted()
    let median = perSecond[perSecond.count / 2]
    let gflop = cost.flopsPerImage / 1e9
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return Report(
      imagesPerSecond: median, bestImagesPerSecond: perSecond[perSecond.count - 1],
      gflopPerImage: gflop, gflops: median * gflop, sgemmGflops: rate,
      efficiency: median * gflop / rate, peakResidentBytes: usage.ru_maxrss * 1024,
      peakActivationBytes: MemoryPool.shared.peakUsedBytes, breakdown: breakdown)
  }

  /// Seconds of each counted step, and where the threads spent them; one step warms the pool up.
  private func measureSteps() -> (times: [Double], breakdown: [String: Double]) {
    let tree = ParameterTree()
    let network = CAENetwork(
      model, method, vocabularySize: StepBenchmark.vocabularySize, in: tree)
    let heap = HeapAllocator()
    let parameters = FlatBuffer(for: tree, allocator: heap, purpose: "parameters")
    let gradients = FlatBuffer(for: tree, allocator: heap, purpose: "gradients")
    parameters.initialize(tree, seed: 0)
    let optimizer = AdamW(AdamWConfiguration(), for: tree, allocator: heap)
    let tape = Tape(parameters: parameters, pool: pool)
    tape.keepsBlockInputsOnly = options.keepsBlockInputsOnly
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
        from: [(result.reconstruction.variable, 1), (result.alignment.variable, 2)], into: sink)
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
    let perStep = 1e3 / (Double(options.threads) * steps)
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
    let size = model.imageSize
    let images = Tensor(uninitialized: [options.batch, model.channels, size, size])
    for index in 0..<images.count { images.pointer[index] = Float(random.uniform(-2, 2)) }
    let rows = (0..<options.batch).map { image in
      (0..<model.patchCount).map { ($0 * 7 + image) % 2 == 0 }
    }
    let mask = PatchMask(rows: rows)
    let targets = mask.masked.map { _ in
      Int32(random.integer(below: StepBenchmark.vocabularySize))
    }
    return (images, mask, TokenIndices(targets))
  }

  /// FLOP-weighted harmonic mean of the rates of the step's dense products, with the threads and
  /// slabs of the step, in GFLOP/s.
  private func productRate(_ cost: StepCost) -> Double {
    var (flops, seconds) = (0.0, 0.0)
    for (layer, count) in cost.trained {
      let rows = layer.rows * options.batch
      let x = Tensor(repeating: 0.5, shape: [rows, layer.inputs])
      let y = Tensor(repeating: 0.5, shape: [rows, layer.outputs])
      let weight = Tensor(repeating: 0.5, shape: [layer.outputs, layer.inputs])
      // The median, as of the steps that it is held against.
      let time = { (body: () -> Void) -> Double in
        (0..<5).map { _ in
          let started = ProcessInfo.processInfo.systemUptime
          body()
          return ProcessInfo.processInfo.systemUptime - started
        }.sorted()[2]
      }
      let each = [
        time {
          LinearKernel.forward(
            pool, x: x.pointer, weight: weight.pointer, bias: [], y: y.pointer, activated: nil,
            rows: rows, inputs: layer.inputs, outputs: layer.outputs)
        },
        time {
          LinearKernel.backwardInput(
            pool, dY: y.pointer, weight: weight.pointer, dX: x.pointer, accumulate: false,
            rows: rows, inputs: layer.inputs, outputs: layer.outputs)
        },
        time {
          LinearKernel.backwardWeight(
            pool, dY: y.pointer, x: x.pointer, dWeight: weight.pointer, beta: 0, rows: rows,
            inputs: layer.inputs, outputs: layer.outputs)
        },
      ]
      seconds += Double(count) * each.reduce(0, +)
      flops += Double(count) * 3 * 2 * Double(rows * layer.inputs) * Double(layer.outputs)
    }
    // The step's own memory is reported: that of the products must not count.
    MemoryPool.shared.trim()
    return flops / seconds / 1e9
  }
}
