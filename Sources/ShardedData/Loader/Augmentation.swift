import Files
import Glibc
public import Interfaces
import TensorCore

/// What was drawn for one sample: the colours are changed, then the image is mirrored, then the box
/// is cut out of it.
public struct AugmentationDraw: Equatable, Sendable {
  public var isFlipped: Bool
  /// In pixels of the image after the flip.
  public var box: CropBox
  public var jitter: ColorJitterDraw?

  public init(isFlipped: Bool, box: CropBox, jitter: ColorJitterDraw? = nil) {
    self.isFlipped = isFlipped
    self.box = box
    self.jitter = jitter
  }
}

/// The random part of what the loader does to a sample.
public enum Augmentation {
  static let attempts = 10

  /// Flip, crop box and colours of a sample, a function of (seed, epoch, sample) alone; with fixed
  /// views of (name, epoch modulo their number) alone.
  ///
  /// Up to ten attempts: `area = U(scale) x W x H`, `ratio = exp(U(log aspect))`,
  /// `w = round(sqrt(area x ratio))`, `h = round(sqrt(area / ratio))`; a box that fits is placed
  /// uniformly. If none fits: the largest box in the middle whose aspect lies in the range. With
  /// `clamped` crops: one attempt, `w` and `h` cut off at the image's.
  ///
  /// - Parameters:
  ///   - width: Of the image. - height: Of the image.
  ///   - name: The sample's key; only looked at for fixed views.
  /// - SeeAlso: The two-picture crop of CAE (arXiv:2202.03026) and BEiT (arXiv:2106.08254); clamped:
  ///   the crop of BYOL (arXiv:2006.07733) and of MAE's linear probe.
  public static func draw(
    plan: ViewPlan, width: Int, height: Int, seed: UInt64, key: SampleKey, name: String = ""
  ) -> AugmentationDraw {
    var random = random(.augmentation, plan: plan, seed: seed, key: key, name: name)
    let isFlipped = random.uniform() < plan.flipProbability
    let box = box(plan: plan, width: width, height: height, random: &random)
    // Last, so that jitter leaves flips and boxes as they are.
    let jitter =
      plan.colorJitter > 0
      ? ColorJitterDraw(strength: plan.colorJitter, random: &random) : nil
    return AugmentationDraw(isFlipped: isFlipped, box: box, jitter: jitter)
  }

  private static func box(
    plan: ViewPlan, width: Int, height: Int, random: inout CounterRandom
  ) -> CropBox {
    switch plan.cropSampling {
    case .rejection:
      for _ in 0..<attempts {
        let size = size(plan: plan, width: width, height: height, random: &random)
        guard size.width > 0, size.height > 0, size.width <= width, size.height <= height else {
          continue
        }
        return placed(size.width, size.height, in: width, height, &random)
      }
      return fallback(aspect: plan.cropAspect, width: width, height: height)
    case .clamped:
      let size = size(plan: plan, width: width, height: height, random: &random)
      return placed(
        min(max(size.width, 1), width), min(max(size.height, 1), height), in: width, height,
        &random)
    }
  }

  /// The random numbers of one purpose for a sample: by seed, epoch and sample, or with fixed views
  /// by name and view.
  static func random(
    _ stream: RandomStream, plan: ViewPlan, seed: UInt64, key: SampleKey, name: String
  ) -> CounterRandom {
    guard plan.fixedViews > 0 else {
      return CounterRandom(seed: seed, epoch: key.epoch, sample: key.sample, stream: stream)
    }
    var hash = Hash64()
    hash.update(name)
    return CounterRandom(
      seed: 0, epoch: key.epoch % plan.fixedViews,
      sample: Int(truncatingIfNeeded: hash.finalize()), stream: stream)
  }

  /// Width and height of a box of random area and aspect.
  private static func size(
    plan: ViewPlan, width: Int, height: Int, random: inout CounterRandom
  ) -> (width: Int, height: Int) {
    let scale = random.uniform(plan.cropScale.lowerBound, plan.cropScale.upperBound)
    let area = scale * Double(width * height)
    let ratio = exp(
      random.uniform(log(plan.cropAspect.lowerBound), log(plan.cropAspect.upperBound)))
    return (
      Int((area * ratio).squareRoot().rounded(.toNearestOrEven)),
      Int((area / ratio).squareRoot().rounded(.toNearestOrEven))
    )
  }

  private static func placed(
    _ w: Int, _ h: Int, in width: Int, _ height: Int, _ random: inout CounterRandom
  ) -> CropBox {
    let top = random.integer(below: height - h + 1)
    let left = random.integer(below: width - w + 1)
    return CropBox(left: left, top: top, width: w, height: h)
  }

  static func fallback(aspect: ClosedRange<Double>, width: Int, height: Int) -> CropBox {
    let ratio = Double(width) / Double(height)
    var (w, h) = (width, height)
    if ratio < aspect.lowerBound {
      h = max(1, Int((Double(w) / aspect.lowerBound).rounded(.toNearestOrEven)))
    } else if ratio > aspect.upperBound {
      w = max(1, Int((Double(h) * aspect.upperBound).rounded(.toNearestOrEven)))
    }
    return CropBox(centredIn: width, height, width: w, height: h)
  }
}
