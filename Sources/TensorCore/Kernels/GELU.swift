import Glibc

/// The exact Gaussian error linear unit: `y = x Phi(x)`, `Phi(x) = (1 + erf(x / sqrt 2)) / 2`.
///
/// - SeeAlso: Hendrycks and Gimpel, arXiv:1606.08415.
public enum GELUKernel {
  private static let inverseRoot2: Float = 0.707_106_78
  private static let inverseRoot2Pi: Float = 0.398_942_28

  /// `y = GELU(x)`; `y` may be `x`.
  @inline(__always)
  static func forward(
    _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, count: Int
  ) {
    VectorMath.map(count, x, y) { value in
      let half = value * 0.5
      return half.addingProduct(half, VectorMath.erf(value * inverseRoot2))
    }
  }

  /// `y = GELU(x)`, split over the threads.
  public static func forward(
    _ pool: ThreadPool, x: UnsafePointer<Float>, y: UnsafeMutablePointer<Float>, count: Int
  ) {
    pool.runSlabs(of: count, granule: 64, as: .activations) { slab, _ in
      forward(x + slab.lowerBound, y + slab.lowerBound, count: slab.count)
    }
  }

  /// OpenAI's approximation `x / (1 + e^(-1.702 x))`, in place, split over the threads.
  public static func quick(_ pool: ThreadPool, x: UnsafeMutablePointer<Float>, count: Int) {
    pool.runSlabs(of: count, granule: 64, as: .activations) { slab, _ in
      let start = x + slab.lowerBound
      VectorMath.map(slab.count, start, start) { $0 / (1 + VectorMath.exp(-1.702 * $0)) }
    }
  }

  /// `dX = dY (Phi(x) + x phi(x))` in place of `dY`. Split over the threads.
  public static func backward(
    _ pool: ThreadPool, x: UnsafePointer<Float>, dY: UnsafeMutablePointer<Float>, count: Int
  ) {
    pool.runSlabs(of: count, granule: 64, as: .activations) { slab, _ in
      let start = slab.lowerBound
      var index = start
      while index + laneCount <= slab.upperBound {
        dY.setLanes(index, dY.lanes(index) * slope(x.lanes(index)))
        index += laneCount
      }
      while index < slab.upperBound {
        dY[index] *= slope(Lanes(repeating: x[index]))[0]
        index += 1
      }
    }
  }

  @inline(__always)
  private static func slope(_ x: Lanes) -> Lanes {
    let cumulative = 0.5 + 0.5 * VectorMath.erf(x * inverseRoot2)
    let density = VectorMath.exp(-0.5 * x * x) * inverseRoot2Pi
    return cumulative.addingProduct(x, density)
  }

  /// GELU by the C library's erf, in Double.
  public static func forwardReference(_ x: [Float]) -> [Float] {
    x.map { Float(0.5 * Double($0) * (1 + Glibc.erf(Double($0) / 2.0.squareRoot()))) }
  }
}
