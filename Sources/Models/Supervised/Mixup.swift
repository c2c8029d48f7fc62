public import Interfaces
public import NN
public import TensorCore

/// How batches are mixed: Mixup and CutMix, one draw a batch.
public struct MixupConfiguration: Codable, Sendable, Equatable {
  /// Of the beta distribution that Mixup's share comes from; 0: no Mixup.
  public var mixupAlpha: Double
  /// Of that of CutMix; 0: no CutMix.
  public var cutMixAlpha: Double
  /// How likely CutMix is where both are on.
  public var switchProbability: Double
  /// Part of the target that is spread over all classes.
  public var smoothing: Double

  public init(
    mixupAlpha: Double = 0.8, cutMixAlpha: Double = 1, switchProbability: Double = 0.5,
    smoothing: Double = 0.1
  ) {
    self.mixupAlpha = mixupAlpha
    self.cutMixAlpha = cutMixAlpha
    self.switchProbability = switchProbability
    self.smoothing = smoothing
  }
}

/// What happens to one micro-batch: every image is mixed with the one as far from the other end.
///
/// - SeeAlso: Zhang et al., arXiv:1710.09412; Yun et al., arXiv:1905.04899; timm's `Mixup` of mode
///   `batch`.
public enum MixupDraw: Equatable, Sendable {
  case none
  /// `x = share x + (1 - share) partner`.
  case mixup(share: Double)
  /// The partner's pixels in a rectangle; `share` is that of the pixels outside of it.
  case cutMix(rows: Range<Int>, columns: Range<Int>, share: Double)

  /// A function of the seed and of a sample of the micro-batch, whatever rank runs it.
  ///
  /// - Parameter key: The first sample's.
  public init(
    _ configuration: MixupConfiguration, seed: UInt64, key: SampleKey, imageSize: Int
  ) {
    var random = CounterRandom(seed: seed, epoch: key.epoch, sample: key.sample, stream: .mixup)
    let (mixup, cutMix) = (configuration.mixupAlpha, configuration.cutMixAlpha)
    let isCut =
      cutMix > 0 && (mixup == 0 || random.uniform() < configuration.switchProbability)
    if isCut {
      self.init(
        cutMixShare: random.beta(cutMix), row: random.integer(below: imageSize),
        column: random.integer(below: imageSize), height: imageSize, width: imageSize)
    } else if mixup > 0 {
      self = .mixup(share: random.beta(mixup))
    } else {
      self = .none
    }
  }

  /// CutMix of a rectangle around (row, column) whose sides are `sqrt(1 - share)` of the image's,
  /// cut off at the border; the share is then that of the remaining pixels.
  init(cutMixShare share: Double, row: Int, column: Int, height: Int, width: Int) {
    let ratio = (1 - share).squareRoot()
    func range(_ centre: Int, _ length: Int) -> Range<Int> {
      let side = Int(Double(length) * ratio)
      return max(0, centre - side / 2)..<min(length, centre + (side + 1) / 2)
    }
    let (rows, columns) = (range(row, height), range(column, width))
    self = .cutMix(
      rows: rows, columns: columns,
      share: 1 - Double(rows.count * columns.count) / Double(height * width))
  }

  /// Of the own image and label.
  public var share: Double {
    switch self {
    case .none: 1
    case .mixup(let share), .cutMix(_, _, let share): share
    }
  }

  /// Mixes images in place. The middle one of an odd batch is its own partner.
  ///
  /// - Parameter images: `[B, channels, height, width]`.
  public func apply(to images: Tensor, pool: ThreadPool) {
    let shape = images.shape
    switch self {
    case .none: break
    case .mixup(let share):
      MixingKernel.blend(
        pool, images.pointer, batch: shape[0], count: images.count / shape[0], share: share)
    case .cutMix(let rows, let columns, _):
      MixingKernel.swapBoxes(
        pool, images.pointer, batch: shape[0], channels: shape[1], height: shape[2],
        width: shape[3], rows: rows, columns: columns)
    }
  }

  /// Each label with its partner's, smoothed.
  public func targets(labels: [Int32], smoothing: Double) -> MixedTargets {
    MixedTargets(
      first: TokenIndices(labels), second: TokenIndices(labels.reversed()), firstShare: share,
      smoothing: smoothing)
  }
}
