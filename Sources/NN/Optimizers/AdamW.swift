public import TensorCore

/// Settings of AdamW that do not change during a run.
public struct AdamWConfiguration: Codable, Sendable, Equatable {
  public var learningRate: Double
  public var minimumLearningRate: Double
  public var beta1: Double
  public var beta2: Double
  public var epsilon: Double
  public var weightDecay: Double
  /// Largest global L2 norm of the gradient; 0: no clipping.
  public var clipNorm: Double

  public init(
    learningRate: Double = 1.5e-3, minimumLearningRate: Double = 1e-5, beta1: Double = 0.9,
    beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0.05,
    clipNorm: Double = 3
  ) {
    self.learningRate = learningRate
    self.minimumLearningRate = minimumLearningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.clipNorm = clipNorm
  }
}

/// Parameters that are not what the optimizer wrote.
public struct CorruptedParameters: Error, Sendable, CustomStringConvertible {
  /// Places in the flat layout.
  public let range: Range<Int>
  /// A parameter in it.
  public let parameter: String

  public var description: String {
    "the weights near \(parameter) are not those that the last update wrote: a bit flipped, or "
      + "another program wrote into this one's memory; resume from the last checkpoint, and have "
      + "that host's memory tested"
  }
}

/// AdamW over the ranges of the flat layout that this rank updates.
public final class AdamW {
  public let firstMoments: ShardBuffer
  public let secondMoments: ShardBuffer
  private let configuration: AdamWConfiguration
  private let tree: ParameterTree
  /// For each range its parts of one weight decay and one learning rate, so that the update is a few long passes.
  private let segments: [[Segment]]
  /// Of the parameters that each range was left with; nil before the first update.
  private var checksums: [UInt32?]

  private struct Segment {
    var range: Range<Int>
    let hasWeightDecay: Bool
    let learningRateScale: Double
  }

  /// - Parameter ranges: Places that it updates; all by default.
  public init(
    _ configuration: AdamWConfiguration, for tree: ParameterTree, ranges: [Range<Int>]? = nil,
    allocator: any MemoryAllocator
  ) {
    let ranges = ranges ?? [0..<tree.flatCount]
    self.configuration = configuration
    self.tree = tree
    firstMoments = ShardBuffer(ranges, allocator: allocator, purpose: "first moments")
    secondMoments = ShardBuffer(ranges, allocator: allocator, purpose: "second moments")
    segments = ranges.map { AdamW.segments(of: $0, in: tree) }
    checksums = Array(repeating: nil, count: ranges.count)
  }

  private static func segments(of range: Range<Int>, in tree: ParameterTree) -> [Segment] {
    var segments: [Segment] = []
    for entry in tree.entries {
      let start = entry.parameter.offset
      let part = (start..<start + (entry.parameter.count + 15) / 16 * 16).clamped(to: range)
      if part.isEmpty { continue }
      if let last = segments.last, last.hasWeightDecay == entry.hasWeightDecay,
        last.learningRateScale == entry.learningRateScale
      {
        segments[segments.count - 1].range = last.range.lowerBound..<part.upperBound
      } else {
        segments.append(
          Segment(
            range: part, hasWeightDecay: entry.hasWeightDecay,
            learningRateScale: entry.learningRateScale))
      }
    }
    return segments
  }

  /// The factor that brings a mean gradient of this norm to the largest allowed one.
  public func clipFactor(norm: Double) -> Double {
    configuration.clipNorm > 0 ? min(1, configuration.clipNorm / (norm + 1e-6)) : 1
  }

  /// One update of the own ranges.
  ///
  /// - Parameters:
  ///   - gradients: Of the same ranges.
  ///   - scale: Factor on every gradient: 1 / number of micro-batches, and the clipping.
  ///   - step: Updates done including this one, from 1.
  /// - Throws: Where parameters are not those that the update before left, judged by a checksum
  ///   that finds any single flipped bit. They have been updated all the same.
  public func update(
    _ parameters: FlatBuffer, gradients: ShardBuffer, scale: Double, learningRate: Double,
    step: Int, pool: ThreadPool
  ) throws(CorruptedParameters) {
    var corrupted: Int?
    for (index, parts) in segments.enumerated() {
      let range = firstMoments.ranges[index]
      var sums = AdamWKernel.Checksums()
      for segment in parts {
        let update = AdamWStep(
          learningRate: Float(learningRate * segment.learningRateScale),
          beta1: Float(configuration.beta1),
          beta2: Float(configuration.beta2), epsilon: Float(configuration.epsilon),
          weightDecay: segment.hasWeightDecay ? Float(configuration.weightDecay) : 0,
          gradientScale: Float(scale), step: step)
        let offset = segment.range.lowerBound - range.lowerBound
        sums += AdamWKernel.update(
          pool, update, parameters: parameters.pointer + segment.range.lowerBound,
          gradients: gradients.pointer(range: index) + offset,
          firstMoments: firstMoments.pointer(range: index) + offset,
          secondMoments: secondMoments.pointer(range: index) + offset, count: segment.range.count)
      }
      if let kept = checksums[index], kept != sums.before { corrupted = corrupted ?? index }
      checksums[index] = sums.after
    }
    if let corrupted { throw corruption(corrupted) }
  }

  /// As above for a rank on its own, whose gradients are all the gradients there are.
  ///
  /// - Parameters:
  ///   - gradients: Sums of `gradientCount` micro-batch means.
  /// - Returns: The L2 norm of the mean gradient, before clipping. Where it is not finite, nothing
  ///   is changed.
  public func update(
    _ parameters: FlatBuffer, gradients: FlatBuffer, gradientCount: Int, learningRate: Double,
    step: Int, pool: ThreadPool
  ) throws(CorruptedParameters) -> Double {
    let norm = AdamW.norm(of: gradients, tree, pool) / Double(gradientCount)
    guard norm.isFinite else { return norm }
    try update(
      parameters, gradients: ShardBuffer(firstMoments.ranges, of: gradients.storage),
      scale: clipFactor(norm: norm) / Double(gradientCount), learningRate: learningRate,
      step: step, pool: pool)
    return norm
  }

  /// The L2 norm of a whole buffer of gradients.
  public static func norm(
    of gradients: FlatBuffer, _ tree: ParameterTree, _ pool: ThreadPool
  ) -> Double {
    var sum = ExactSum()
    let chunks = tree.chunks(in: 0..<gradients.count).map { chunk in
      UnsafeBufferPointer(gradients.memory(chunk))
    }
    ReductionKernel.addSquaredNorms(pool, of: chunks, to: &sum)
    return sum.value.squareRoot()
  }

  /// Compares the parameters with what the last update wrote.
  public func check(_ parameters: FlatBuffer, pool: ThreadPool) throws(CorruptedParameters) {
    for (index, range) in firstMoments.ranges.enumerated() {
      guard let kept = checksums[index] else { continue }
      let sum = ChecksumKernel.sum(
        pool, parameters.pointer + range.lowerBound, count: range.count)
      if sum != kept { throw corruption(index) }
    }
  }

  /// To be called when something else than an update has written parameters.
  public func forgetChecksums() { checksums = Array(repeating: nil, count: checksums.count) }

  private func corruption(_ index: Int) -> CorruptedParameters {
    let range = firstMoments.ranges[index]
    return CorruptedParameters(
      range: range, parameter: tree.parameter(at: range.lowerBound).name)
  }
}
