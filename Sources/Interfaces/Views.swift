public import TensorCore

/// How a crop is resampled to the size of a view.
public enum ResampleFilter: String, Codable, Sendable {
  case bicubic
  case lanczos
}

/// One picture that the loader makes of a crop: size, filter, normalization `(x - mean) / std`
/// of pixels in [0, 1], a value a channel.
public struct ViewSpecification: Equatable, Codable, Sendable {
  public var size: Int
  public var filter: ResampleFilter
  public var mean: [Float]
  public var standardDeviation: [Float]

  public init(size: Int, filter: ResampleFilter, mean: [Float], standardDeviation: [Float]) {
    self.size = size
    self.filter = filter
    self.mean = mean
    self.standardDeviation = standardDeviation
  }
}

/// How the box of a training crop is drawn.
public enum CropSampling: String, Codable, Sendable {
  /// Up to ten boxes, of which the first that lies in the image is taken; then the middle.
  case rejection
  /// One box, of which width and height are cut off at those of the image.
  case clamped
}

/// Random operations on the resized 8-bit picture: RandAugment with two of fifteen operations,
/// each applied with probability 1/2, of increasing severity.
///
/// - SeeAlso: Cubuk et al., arXiv:1909.13719; timm's `rand-m9-mstd0.5-inc1`.
public struct RandAugmentPlan: Equatable, Codable, Sendable {
  /// Mean and standard deviation of the normal distribution that each operation's magnitude comes
  /// from; it is then limited to [0, 10].
  public var magnitude: Double
  public var magnitudeDeviation: Double
  /// What pixels from outside of the picture are, a value a channel.
  public var fill: [UInt8]

  /// - Parameter mean: Of pixels in [0, 1], a value a channel: what lies outside is the mean.
  public init(magnitude: Double = 9, magnitudeDeviation: Double = 0.5, mean: [Float]) {
    self.magnitude = magnitude
    self.magnitudeDeviation = magnitudeDeviation
    fill = mean.map { UInt8(min(max((255 * $0).rounded(.toNearestOrEven), 0), 255)) }
  }
}

/// What the loader makes of every sample: colour jitter, a horizontal flip, then one crop box, then
/// each view of that same box: resized, changed by RandAugment, normalized, partly erased. Masks
/// are no business of the loader.
public struct ViewPlan: Equatable, Sendable {
  /// Share of the image's area that a crop may take; `1...1` with `cropAspect` 1...1 takes all.
  public var cropScale: ClosedRange<Double>
  /// Width over height of a crop before resampling.
  public var cropAspect: ClosedRange<Double>
  public var flipProbability: Double
  /// Brightness, contrast and saturation are changed by factors from
  /// `U(max(0, 1 - colorJitter), 1 + colorJitter)`; 0: none.
  public var colorJitter: Double
  public var views: [ViewSpecification]
  /// Epochs go round among this many fixed pictures of each image, which are functions of the
  /// image's name alone; 0: a new one every epoch.
  public var fixedViews = 0
  /// Images are decoded for pictures of this size where it is larger than that of all views: how far
  /// they are decoded at reduced size must not depend on whether targets are computed or read.
  public var pictureSize = 0
  public var cropSampling = CropSampling.rejection
  /// Only for images of 1 or 3 channels. Nil: none.
  public var randAugment: RandAugmentPlan?
  /// How likely a view has a rectangle of normal noise in place of normalized pixels; 0: never.
  public var randomErasing = 0.0

  public init(
    cropScale: ClosedRange<Double>, cropAspect: ClosedRange<Double>, flipProbability: Double,
    colorJitter: Double = 0, views: [ViewSpecification]
  ) {
    self.cropScale = cropScale
    self.cropAspect = cropAspect
    self.flipProbability = flipProbability
    self.colorJitter = colorJitter
    self.views = views
  }
}

/// Names a sample of a run: all its random draws are functions of this and of the seed.
public struct SampleKey: Equatable, Hashable, Sendable {
  public let epoch: Int
  /// Index in the data set, independent of the order of an epoch.
  public let sample: Int

  public init(epoch: Int, sample: Int) {
    self.epoch = epoch
    self.sample = sample
  }
}

/// Targets of a batch that were computed beforehand.
public enum PrecomputedTargets: Sendable {
  case none
  /// In raster order, as many of each sample.
  case tokens([Int32])
  /// `[B, 1 + patches, width]`: a feature of the whole image, then those of the patches.
  case features(Tensor)
}

/// One micro-batch.
public struct Batch: Sendable {
  public let keys: [SampleKey]
  /// One tensor a view of the plan, each `[B, C, S, S]`.
  public let views: [Tensor]
  public let labels: [Int32]
  public let targets: PrecomputedTargets

  public init(
    keys: [SampleKey], views: [Tensor], labels: [Int32], targets: PrecomputedTargets = .none
  ) {
    self.keys = keys
    self.views = views
    self.labels = labels
    self.targets = targets
  }

  public var count: Int { keys.count }
}

/// Where in a run a forward pass happens.
public struct StepInfo: Sendable {
  /// Optimizer updates done before this one.
  public let step: Int
  public let totalSteps: Int
  public let seed: UInt64
  /// False for held-out losses: no stochastic depth.
  public let isTraining: Bool

  public init(step: Int, totalSteps: Int, seed: UInt64, isTraining: Bool = true) {
    self.step = step
    self.totalSteps = totalSteps
    self.seed = seed
    self.isTraining = isTraining
  }
}
