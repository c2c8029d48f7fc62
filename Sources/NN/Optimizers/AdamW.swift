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

/// AdamW over flat buffers, with clipping of the global norm folded into the update.
public final class AdamW {
  public let firstMoments: FlatBuffer
  public let secondMoments: FlatBuffer
  private let configuration: AdamWConfiguration
  private let segments: [Segment]

  /// A run of the flat buffer with one weight decay, so that the update is a few long passes.
  private struct Segment {
    let start: Int
    var end: Int
    let hasWeightDecay: Bool
  }

  public init(
    _ configuration: AdamWConfiguration, for tree: ParameterTree, allocator: any MemoryAllocator
  ) {
    self.configuration = configuration
    firstMoments = FlatBuffer(for: tree, allocator: allocator, purpose: "first moments")
    secondMoments = FlatBuffer(for: tree, allocator: allocator, purpose: "second moments")
    var segments: [Segment] = []
    for entry in tree.entries {
      let start = entry.parameter.offset
      let end = start + (entry.parameter.count + 15) / 16 * 16
      if let last = segments.last, last.hasWeightDecay == entry.hasWeightDecay {
        segments[segments.count - 1].end = end
      } else {
        segments.append(Segment(start: start, end: end, hasWeightDecay: entry.hasWeightDecay))
      }
    }
    self.segments = segments
  }

  /// One update. `gradients` hold a sum of `gradientCount` micro-batch means.
  ///
  /// - Returns: The global L2 norm of the mean gradient, before clipping. Where it is not finite,
  ///   nothing is changed.
  public func update(
    _ parameters: FlatBuffer, gradients: FlatBuffer, gradientCount: Int, learningRate: Double,
    step: Int, pool: ThreadPool
  ) -> Double {
    let mean = 1 / Double(gradientCount)
    let squared = ReductionKernel.squaredNorm(pool, gradients.pointer, count: gradients.count)
    let norm = squared.squareRoot() * mean
    guard norm.isFinite else { return norm }
    let clip = configuration.clipNorm > 0 ? min(1, configuration.clipNorm / (norm + 1e-6)) : 1
    for segment in segments {
      let update = AdamWStep(
        learningRate: Float(learningRate), beta1: Float(configuration.beta1),
        beta2: Float(configuration.beta2), epsilon: Float(configuration.epsilon),
        weightDecay: segment.hasWeightDecay ? Float(configuration.weightDecay) : 0,
        gradientScale: Float(mean * clip), step: step)
      AdamWKernel.update(
        pool, update, parameters: parameters.pointer + segment.start,
        gradients: gradients.pointer + segment.start,
        firstMoments: firstMoments.pointer + segment.start,
        secondMoments: secondMoments.pointer + segment.start, count: segment.end - segment.start)
    }
    return norm
  }
}
