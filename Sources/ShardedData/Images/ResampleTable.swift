import Glibc
import Interfaces

/// One axis of a resize: a part of a line of pixels that becomes a line of another length.
struct ResampleAxis: Equatable {
  /// Pixels that the filter may look at.
  var inputSize: Int
  /// Where the box begins, in pixels from the first of them.
  var start: Double
  /// How long the box is, in pixels.
  var length: Double
  /// Pixels that the whole box becomes.
  var outputSize: Int
  /// Those of them that are wanted.
  var wanted: Range<Int>
}

/// The taps and weights that make one line of pixels out of another.
///
/// Output pixel `o` has its centre at `start + (o + 0.5) x scale` with
/// `scale = length / outputSize`. When shrinking, the filter is stretched by `scale`, which makes
/// the result free of aliasing. Weights sum to one and are rounded to 22 fraction bits, as Pillow
/// has them, which Float holds exactly. The memory is used again by the next `fill`.
final class ResampleTable {
  /// Fraction bits of Pillow: 32 less 8 of the sample and 2 of headroom for negative weights.
  static let fractionBits = 32 - 8 - 2

  /// Wanted output pixels.
  private(set) var count = 0
  /// The largest number of taps of an output pixel.
  private(set) var tapCount = 0
  private let firstTaps = ScratchBuffer<Int32>()
  private let tapCounts = ScratchBuffer<Int32>()
  private let weightLines = ScratchBuffer<Float>()
  private let line = ScratchBuffer<Double>()

  /// First tap of each wanted output pixel; rising. If they are odd in number, the last is there
  /// twice, the second time with weights of zero.
  var first: UnsafePointer<Int32> { UnsafePointer(firstTaps.pointer) }
  /// Number of taps of each.
  var taps: UnsafePointer<Int32> { UnsafePointer(tapCounts.pointer) }
  /// `[count, tapCount]`; those beyond a pixel's taps are zero.
  var weights: UnsafePointer<Float> { UnsafePointer(weightLines.pointer) }
  /// The input pixels that any wanted output pixel looks at.
  var inputs: Range<Int> {
    Int(first[0])..<Int(first[count - 1] + taps[count - 1])
  }

  func fill(_ axis: ResampleAxis, filter: ResampleFilter) {
    precondition(
      axis.inputSize > 0 && axis.length > 0 && !axis.wanted.isEmpty && axis.wanted.lowerBound >= 0
        && axis.wanted.upperBound <= axis.outputSize, "resampling \(axis)")
    let scale = axis.length / Double(axis.outputSize)
    let stretch = max(scale, 1)
    findTaps(axis, scale: scale, support: filter.support * stretch)
    let weights = weightLines.reserve((count + 1) * tapCount)
    let line = line.reserve(tapCount)
    for index in 0..<count {
      let centre = axis.start + (Double(axis.wanted.lowerBound + index) + 0.5) * scale
      let taps = Int(tapCounts.pointer[index])
      let position = (Double(firstTaps.pointer[index]) - centre + 0.5) / stretch
      filter.weigh(from: position, step: 1 / stretch, count: taps, into: line)
      var sum = 0.0
      for tap in 0..<taps { sum += line[tap] }
      let unit = Double(1 << ResampleTable.fractionBits)
      let target = weights + index * tapCount
      for tap in 0..<taps {
        target[tap] = Float((line[tap] * (unit / sum)).rounded(.toNearestOrEven) / unit)
      }
      for tap in taps..<tapCount { target[tap] = 0 }
    }
    (weights + count * tapCount).update(repeating: 0, count: tapCount)
  }

  private func findTaps(_ axis: ResampleAxis, scale: Double, support: Double) {
    count = axis.wanted.count
    let first = firstTaps.reserve(count + 1)
    let taps = tapCounts.reserve(count)
    var largest: Int32 = 0
    for index in 0..<count {
      let centre = axis.start + (Double(axis.wanted.lowerBound + index) + 0.5) * scale
      first[index] = Int32(max(centre - support + 0.5, 0))
      taps[index] = Int32(min(centre + support + 0.5, Double(axis.inputSize))) - first[index]
      largest = max(largest, taps[index])
    }
    first[count] = first[count - 1]
    tapCount = Int(largest)
  }
}

extension ResampleFilter {
  /// Half the width of the filter, in pixels.
  var support: Double {
    switch self {
    case .bicubic: return 2
    case .lanczos: return 3
    }
  }

  /// The filter at `start`, `start + step` and so on, up to one factor.
  ///
  /// Bicubic: Keys' cubic with a = -0.5. Lanczos: `sinc(x) sinc(x / 3)`.
  func weigh(from start: Double, step: Double, count: Int, into line: UnsafeMutablePointer<Double>)
  {
    switch self {
    case .bicubic:
      for index in 0..<count {
        line[index] = ResampleFilter.cubic(abs(start + Double(index) * step))
      }
    case .lanczos:
      weighLanczos(from: start, step: step, count: count, into: line)
    }
  }

  @inline(__always)
  private static func cubic(_ x: Double) -> Double {
    let inner = (1.5 * x - 2.5) * x * x + 1
    let outer = -0.5 * (((x - 5) * x + 8) * x - 4)
    return x < 1 ? inner : x < 2 ? outer : 0
  }

  /// Sines of equal steps come from one rotation each, and sin 3a = sin a (3 - 4 sin^2 a) saves
  /// the other sine: a sine a tap would take longer than the whole resize.
  private func weighLanczos(
    from start: Double, step: Double, count: Int, into line: UnsafeMutablePointer<Double>
  ) {
    let third = Double.pi / 3
    var (sine, cosine) = (sin(start * third), cos(start * third))
    let (stepSine, stepCosine) = (sin(step * third), cos(step * third))
    for index in 0..<count {
      let x = start + Double(index) * step
      let square = sine * sine
      // Near 0 the quotient of two small numbers is replaced by its series.
      let near = 1 - (10.0 / 54) * .pi * .pi * x * x
      let far = square * (3 - 4 * square) / (third * .pi * x * x)
      line[index] = abs(x) < 1e-4 ? near : abs(x) < 3 ? far : 0
      (sine, cosine) = (
        sine * stepCosine + cosine * stepSine, cosine * stepCosine - sine * stepSine
      )
    }
  }
}
