import Interfaces
import NN
import TensorCore

@testable import DataParallel

/// Some steps of a run with gradients that are known beforehand.
struct ExchangeScenario: Sendable {
  var options = ExchangeOptions()
  /// Micro-batches of a step, of all ranks together.
  var microBatches: Int
  var steps = 2
  var order = ExchangeModel.Order.openToTheEnd
  /// A parameter that backward does not reach in every other micro-batch.
  var skipped: String?

  /// Denominators above `epsilon` bound what a gradient's error does to a parameter.
  static let configuration = AdamWConfiguration(
    learningRate: 1e-2, epsilon: 1e-2, weightDecay: 0.05, clipNorm: 3)

  /// What a rank has after the steps.
  struct Outcome: Sendable {
    var parameters: [Float] = []
    var firstMoments: [Float] = []
    var secondMoments: [Float] = []
    var norms: [Double] = []

    // A failed expectation need not show all values.
    func hasSameBits(as other: Outcome) -> Bool {
      bits == other.bits && norms.map(\.bitPattern) == other.norms.map(\.bitPattern)
    }

    private var bits: [[UInt32]] {
      [parameters, firstMoments, secondMoments].map { $0.map(\.bitPattern) }
    }
  }

  func skips(_ step: Int, _ microBatch: Int) -> String? {
    (step + microBatch) % 2 == 1 ? skipped : nil
  }

  // MARK: With an exchange

  /// An optimizer with the initial parameters.
  ///
  /// Collective.
  func makeOptimizer(_ group: any ProcessGroup) throws -> DistributedOptimizer {
    let stallGuard = StallGuard()
    stallGuard.limit(to: 15)
    stallGuard.enter(step: 1, isFirst: false)
    let optimizer = try DistributedOptimizer(
      ExchangeModel.tree, ExchangeScenario.configuration, options,
      microBatches: microBatches / group.worldSize, group: group, stallGuard: stallGuard,
      pool: ThreadPool(threadCount: 1))
    if optimizer.writesParameters { optimizer.parameters.initialize(optimizer.tree, seed: 1) }
    try optimizer.didLoad()
    return optimizer
  }

  /// Backward of all micro-batches of this rank.
  func runMicroBatches(_ optimizer: DistributedOptimizer, step: Int) throws {
    for (index, microBatch) in optimizer.microBatchIndices().enumerated() {
      optimizer.beginMicroBatch(index)
      try ExchangeModel.backward(
        ExchangeModel.gradients(step: step, microBatch: microBatch), optimizer.tree, order,
        into: optimizer.sink, skipping: skips(step, microBatch))
      try optimizer.endMicroBatch()
    }
  }

  /// A whole step, the update included.
  ///
  /// Collective.
  ///
  /// - Returns: The norm.
  func run(_ optimizer: DistributedOptimizer, step: Int) throws -> Double {
    optimizer.beginStep()
    try runMicroBatches(optimizer, step: step)
    try optimizer.finishExchange()
    let summary = try optimizer.summarize(gradientCount: microBatches)
    _ = try optimizer.update(
      summary, gradientCount: microBatches,
      learningRate: ExchangeScenario.configuration.learningRate, step: step + 1)
    return summary.norm
  }

  /// All steps.
  ///
  /// Collective.
  ///
  func run(_ group: any ProcessGroup) throws -> Outcome {
    let optimizer = try makeOptimizer(group)
    let norms = try (0..<steps).map { try run(optimizer, step: $0) }
    return try outcome(of: optimizer, norms, group)
  }

  func outcome(
    of optimizer: DistributedOptimizer, _ norms: [Double], _ group: any ProcessGroup
  ) throws -> Outcome {
    var outcome = Outcome(parameters: optimizer.parameters.values, norms: norms)
    (outcome.firstMoments, outcome.secondMoments) = try ExchangeScenario.moments(
      of: optimizer, group)
    // Memory of a host is read to the end.
    try group.barrier()
    return outcome
  }

  /// Moments of all places, each from the rank that saves it.
  ///
  /// Collective.
  static func moments(
    of optimizer: DistributedOptimizer, _ group: any ProcessGroup
  ) throws -> (first: [Float], second: [Float]) {
    let saved = optimizer.savedRanges
    func gather(_ shard: ShardBuffer) throws -> [Float] {
      var own = [Float](repeating: 0, count: optimizer.tree.flatCount)
      for place in saved[group.rank].joined() { own[place] = shard.pointer(at: place).pointee }
      let bytes = try group.allGather(own.withUnsafeBytes { [UInt8]($0) })
      var all = own
      bytes.withUnsafeBytes { bytes in
        let values = bytes.bindMemory(to: Float.self)
        for (rank, ranges) in saved.enumerated() {
          for place in ranges.joined() { all[place] = values[rank * own.count + place] }
        }
      }
      return all
    }
    return (try gather(optimizer.moments.first), try gather(optimizer.moments.second))
  }

  /// Sets the state of a rank, as loading a checkpoint does.
  ///
  /// Collective.
  static func load(_ state: Outcome, into optimizer: DistributedOptimizer) throws {
    for place in optimizer.loadedRange {
      optimizer.parameters.pointer[place] = state.parameters[place]
    }
    for (shard, values) in [
      (optimizer.moments.first, state.firstMoments),
      (optimizer.moments.second, state.secondMoments),
    ] {
      for place in shard.ranges.joined() { shard.pointer(at: place).pointee = values[place] }
    }
    try optimizer.didLoad()
  }

  // MARK: Without

  /// The same on one process: sums as a binary counter makes them, then plain AdamW.
  func twin() throws -> Outcome {
    let (tree, heap) = (ExchangeModel.tree, HeapAllocator())
    let pool = ThreadPool(threadCount: 1)
    let parameters = FlatBuffer(for: tree, allocator: heap, purpose: "parameters")
    parameters.initialize(tree, seed: 1)
    let optimizer = AdamW(ExchangeScenario.configuration, for: tree, allocator: heap)
    var outcome = Outcome()
    for step in 0..<steps {
      let gradients = FlatBuffer(for: tree, allocator: heap, purpose: "gradients")
      let sum = sum(tree, step: step)
      gradients.pointer.update(from: sum, count: sum.count)
      outcome.norms.append(
        try optimizer.update(
          parameters, gradients: gradients, gradientCount: microBatches,
          learningRate: ExchangeScenario.configuration.learningRate, step: step + 1, pool: pool))
    }
    outcome.parameters = parameters.values
    outcome.firstMoments = Array(optimizer.firstMoments.memory[0])
    outcome.secondMoments = Array(optimizer.secondMoments.memory[0])
    return outcome
  }

  /// Sum of all micro-batches' gradients.
  private func sum(_ tree: ParameterTree, step: Int) -> [Float] {
    var digits: [[Float]?] = []
    for microBatch in 0..<microBatches {
      var carry = ExchangeModel.gradients(step: step, microBatch: microBatch)
      if let name = skips(step, microBatch), let parameter = tree.parameter(named: name) {
        for index in 0..<parameter.count { carry[parameter.offset + index] = 0 }
      }
      var place = 0
      while place < digits.count, let digit = digits[place] {
        for index in carry.indices { carry[index] = digit[index] + carry[index] }
        digits[place] = nil
        place += 1
      }
      if place == digits.count { digits.append(nil) }
      digits[place] = carry
    }
    let rest = digits.compactMap { $0 }
    return rest.dropFirst().reduce(rest[0]) { low, high in
      low.indices.map { high[$0] + low[$0] }
    }
  }
}

extension FlatBuffer {
  var values: [Float] { Array(UnsafeBufferPointer(start: pointer, count: count)) }
}

extension ExchangeOptions {
  /// For comments of tests.
  var summary: String {
    "\(kind.rawValue), \(wire.rawValue), sharding \(sharding.rawValue), \(bucketBytes) bytes, "
      + (overlaps ? "overlapping, " : "") + (sharesMemory ? "shared" : "own memory")
      + (isDeterministic ? ", deterministic" : "")
  }
}
