import Glibc
import Interfaces

/// The taps and weights that make one line of `outputSize` pixels out of one of `inputSize`.
///
/// Output pixel `o` has its centre at `(o + 0.5) x scale` with `scale = inputSize / outputSize`.
/// When shrinking, the filter is stretched by `scale`, which makes the result free of aliasing.
/// Weights sum to one and are stored in fixed point with 22 fraction bits, as Pillow does, so that
/// results agree with it.
struct ResampleTable {
  /// Fraction bits: 32 less 8 of the sample and 2 of headroom for negative weights.
  static let fractionBits: Int32 = 32 - 8 - 2

  let inputSize: Int
  let outputSize: Int
  /// Weights held for each output pixel; unused ones are zero.
  let stride: Int
  /// First tap and number of taps of each output pixel.
  private(set) var taps: [(first: Int32, count: Int32)]
  /// `[outputSize, stride]`.
  private(set) var weights: [Int32]

  init(inputSize: Int, outputSize: Int, filter: ResampleFilter) {
    precondition(inputSize > 0 && outputSize > 0, "resampling \(inputSize) to \(outputSize)")
    let scale = Double(inputSize) / Double(outputSize)
    let stretch = max(scale, 1)
    let support = filter.support * stretch
    self.inputSize = inputSize
    self.outputSize = outputSize
    stride = Int(support.rounded(.up)) * 2 + 1
    taps = []
    taps.reserveCapacity(outputSize)
    weights = [Int32](repeating: 0, count: outputSize * stride)
    var line = [Double](repeating: 0, count: stride)
    for output in 0..<outputSize {
      let centre = (Double(output) + 0.5) * scale
      let first = max(Int(centre - support + 0.5), 0)
      let count = min(Int(centre + support + 0.5), inputSize) - first
      var sum = 0.0
      for tap in 0..<count {
        line[tap] = filter.weight(at: (Double(tap + first) - centre + 0.5) / stretch)
        sum += line[tap]
      }
      for tap in 0..<count {
        weights[output * stride + tap] = ResampleTable.fixedPoint(line[tap] / sum)
      }
      taps.append((Int32(first), Int32(count)))
    }
  }

  private static func fixedPoint(_ weight: Double) -> Int32 {
    Int32((weight * Double(1 << fractionBits)).rounded(.toNearestOrAwayFromZero))
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

  /// Bicubic: Keys' cubic with a = -0.5. Lanczos: `sinc(x) sinc(x / 3)`.
  func weight(at position: Double) -> Double {
    let x = abs(position)
    guard x < support else { return 0 }
    switch self {
    case .bicubic:
      return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : -0.5 * (((x - 5) * x + 8) * x - 4)
    case .lanczos:
      return sinc(x) * sinc(x / 3)
    }
  }

  private func sinc(_ x: Double) -> Double {
    x == 0 ? 1 : sin(x * .pi) / (x * .pi)
  }
}
