public import DataParallel
import Files
import Foundation
import Interfaces
import Models
import NN
import TensorCore
import Training

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
    public let ranks: Int
    /// Of all ranks together.
    public let imagesPerSecond: Double
    public let bestImagesPerSecond: Double
    public let gflopPerImage: Double
    /// Of a rank.
    public let gflops: Double
    public let sgemmGflops: Double
    /// `gflops / sgemmGflops`.
    public let efficiency: Double
    /// Time of a step in which the slowest rank only waited for others, median.
    public let exposedCommunicationMilliseconds: Double
    /// Of a rank; memory that ranks share counts for each.
    public let peakResidentBytes: Int
    /// Of all ranks together after the last step; memory that ranks share counts once.
    public let proportionalBytes: Int
    public let peakActivationBytes: Int
    /// Those of BLAS.
    public let kernels: String
    /// Of the parameters after the last step.
    public let parametersHash: String
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
        String(
          format:
            "%d ranks together %.2f GB; waiting for the exchange %.1f ms a step; parameters %@",
          ranks, Double(proportionalBytes) / 1e9, exposedCommunicationMilliseconds,
          parametersHash),
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
  private let group: any ProcessGroup
  private let stallGuard: StallGuard

  /// Each rank runs a batch of its own, and all share the update.
  ///
  /// Collective. Blocking.
  ///
  /// - Returns: On rank 0 the report.
  public static func run(_ options: Options, on cluster: Cluster) throws -> Report? {
    let benchmark = try Agreement(cluster.group).run {
      try StepBenchmark(options, group: cluster.group, stallGuard: cluster.stallGuard)
    }
    let report = try benchmark.run()
    return cluster.group.rank == 0 ? report : nil
  }

  private init(
    _ options: Options, group: any ProcessGroup, stallGuard: StallGuard
  ) throws(ConfigurationError) {
    guard options.batch > 0, options.repeats > 0 else {
      throw ConfigurationError("bench step", "--batch and --repeats must be above 0")
    }
    self.options = options
    self.group = group
    self.stallGuard = stallGuard
    setup = try BenchmarkSetup(
      model: options.model, imageSize: options.imageSize, threads: options.threads,
      overrides: options.overrides)
    try setup.requireShares(of: options.batch, ranks: group.worldSize)
    clock = KernelClock(threadCount: setup.threads)
    pool = ThreadPool(threadCount: setup.threads, clock: clock)
  }

  private func run() throws -> Report {
    let cost = setup.cost
    let products = ProductBenchmark(cost, batch: setup.microBatch(options.batch), pool: pool)
    let before = products.run().gflops
    // The step's own memory is reported: that of the products must not count.
    MemoryPool.shared.trim()
    let steps = try measureSteps()
    let peakActivationBytes = MemoryPool.shared.peakUsedBytes
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let rate = (before + products.run().gflops) / 2
    let images = Double(options.batch * group.worldSize)
    let perSecond = steps.times.map { images / $0 }.sorted()
    let median = perSecond[perSecond.count / 2]
    let gflop = cost.flopsPerImage / 1e9
    // Of one rank, as the ceiling is.
    let gflops = median * gflop / Double(group.worldSize)
    return Report(
      ranks: group.worldSize, imagesPerSecond: median,
      bestImagesPerSecond: perSecond[perSecond.count - 1], gflopPerImage: gflop, gflops: gflops,
      sgemmGflops: rate, efficiency: gflops / rate,
      exposedCommunicationMilliseconds: steps.exposed.sorted()[steps.exposed.count / 2] * 1e3,
      peakResidentBytes: usage.ru_maxrss * 1024, proportionalBytes: steps.proportionalBytes,
      peakActivationBytes: peakActivationBytes, kernels: BLAS.coreName,
      parametersHash: steps.parametersHash,
      breakdown: steps.breakdown)
  }

  /// Steps alone, without the products: seconds of each, and milliseconds by kind.
  ///
  /// Collective. Blocking.
  static func steps(
    _ options: Options, group: any ProcessGroup
  ) throws -> (seconds: [Double], breakdown: [String: Double]) {
    let benchmark = try Agreement(group).run {
      try StepBenchmark(options, group: group, stallGuard: StallGuard())
    }
    let steps = try benchmark.measureSteps()
    return (steps.times, steps.breakdown)
  }

  private struct Steps {
    var times: [Double] = []
    var exposed: [Double] = []
    var breakdown: [String: Double] = [:]
    var proportionalBytes = 0
    var parametersHash = ""
  }

  /// Seconds of each counted step, and where the threads spent them; one step warms the pool up.
  private func measureSteps() throws -> Steps {
    let tree = ParameterTree()
    let network = CAENetwork(
      setup.model, setup.method, vocabularySize: BenchmarkSetup.vocabularySize, in: tree)
    let micro = setup.microBatch(options.batch)
    let microBatches = options.batch / micro
    stallGuard.limit(to: setup.parallelism.stallTimeoutSeconds)
    let optimizer = try DistributedOptimizer(
      tree, AdamWConfiguration(), setup.exchange, microBatches: microBatches, group: group,
      stallGuard: stallGuard, pool: pool)
    if optimizer.writesParameters { optimizer.parameters.initialize(tree, seed: 0) }
    try optimizer.hostBarrier()
    if let warning = optimizer.warning, group.rank == 0 {
      FileHandle.standardError.write(Data((warning + "\n").utf8))
    }
    let tape = Tape(parameters: optimizer.parameters, pool: pool)
    tape.keepsBlockInputsOnly =
      setup.parallelism.activationCheckpointing == .blocks
    let inputs = optimizer.microBatchIndices().map { makeInputs(micro, seed: $0) }
    let context = ForwardContext(
      tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    MemoryPool.shared.resetPeak()
    var steps = Steps()
    var before = reading()
    let total = microBatches * group.worldSize
    for step in 0...options.repeats {
      try group.barrier()
      if step == 1 { before = reading() }
      stallGuard.enter(step: step + 1, isFirst: step == 0)
      let started = ProcessInfo.processInfo.systemUptime
      optimizer.beginStep()
      for (index, (images, mask, targets)) in inputs.enumerated() {
        optimizer.beginMicroBatch(index)
        let result = network.forward(images: images, mask: mask, targets: targets, context)
        tape.backward(
          from: [
            (result.reconstruction.variable, 1),
            (result.alignment.variable, Float(setup.method.alignmentWeight)),
          ], into: optimizer.sink)
        try optimizer.endMicroBatch()
      }
      try optimizer.finishExchange()
      let summary = try optimizer.summarize(gradientCount: total)
      let waited = try optimizer.update(
        summary, gradientCount: total, learningRate: 1e-4, step: step + 1)
      let seconds = ProcessInfo.processInfo.systemUptime - started
      let slowest = try group.allReduceMaximum([seconds, summary.exposedSeconds + waited])
      guard step > 0 else { continue }
      steps.times.append(slowest[0])
      steps.exposed.append(slowest[1])
    }
    steps.breakdown = breakdown(from: before, to: reading(), times: steps.times)
    steps.proportionalBytes = try ProcessMemory.proportionalBytes(of: group)
    steps.parametersHash = Checksum.text(of: optimizer.parameters)
    return steps
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

  /// Generated, the same for a micro-batch whoever runs it.
  private func makeInputs(_ batch: Int, seed: Int) -> (Tensor, PatchMask, TokenIndices) {
    var random = CounterRandom(seed: 1, sample: seed, stream: .synthetic)
    let size = setup.model.imageSize
    let images = Tensor(uninitialized: [batch, setup.model.channels, size, size])
    for index in 0..<images.count { images.pointer[index] = Float(random.uniform(-2, 2)) }
    let patches = Array(0..<setup.model.patchCount)
    let rows = (0..<batch).map { _ in
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

/// A short name of all parameters: equal only where all bits are.
enum Checksum {
  static func text(of parameters: FlatBuffer) -> String {
    var hash = Hash64()
    hash.update(
      UnsafeRawBufferPointer(
        UnsafeBufferPointer(start: parameters.pointer, count: parameters.count)))
    return Hash64.hex(hash.finalize())
  }
}
