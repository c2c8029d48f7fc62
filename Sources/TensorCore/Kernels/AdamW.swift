import Glibc
import Synchronization

/// One AdamW update of a run of parameters that share learning rate and decay.
public struct AdamWStep: Sendable {
  public var learningRate: Float
  public var beta1: Float
  public var beta2: Float
  public var epsilon: Float
  public var weightDecay: Float
  /// Factor on every gradient: 1 / number of micro-batches, and the clipping coefficient.
  public var gradientScale: Float
  /// Updates done including this one, from 1.
  public var step: Int

  public init(
    learningRate: Float, beta1: Float, beta2: Float, epsilon: Float, weightDecay: Float,
    gradientScale: Float, step: Int
  ) {
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.gradientScale = gradientScale
    self.step = step
  }
}

/// Adam with decoupled weight decay, one pass over parameters, gradients and moments.
///
/// `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
/// `p = p (1 - lr wd) - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)`.
///
/// - SeeAlso: Loshchilov and Hutter, arXiv:1711.05101; the order of operations is PyTorch's.
public enum AdamWKernel {
  /// Sums of the bit patterns of the parameters, modulo 2^32: any single flipped bit changes one.
  public struct Checksums: Equatable, Sendable {
    /// Of what was read and of what was written.
    public var before: UInt32 = 0
    public var after: UInt32 = 0

    public init() {}

    public static func += (sum: inout Checksums, part: Checksums) {
      sum.before &+= part.before
      sum.after &+= part.after
    }
  }

  /// - Returns: Checksums of the parameters, a by-product of the pass over them.
  public static func update(
    _ pool: ThreadPool, _ step: AdamWStep, parameters: UnsafeMutablePointer<Float>,
    gradients: UnsafePointer<Float>, firstMoments: UnsafeMutablePointer<Float>,
    secondMoments: UnsafeMutablePointer<Float>, count: Int
  ) -> Checksums {
    let correction1 = 1 - pow(Double(step.beta1), Double(step.step))
    let correction2 = 1 - pow(Double(step.beta2), Double(step.step))
    let stepSize = Float(Double(step.learningRate) / correction1)
    let rootCorrection = Float(1 / correction2.squareRoot())
    let keep = 1 - step.learningRate * step.weightDecay
    let total = Mutex(Checksums())
    pool.runSlabs(of: count, granule: 1024, as: .optimizer) { slab, _ in
      var (before, after) = (SIMD8<UInt32>.zero, SIMD8<UInt32>.zero)
      var rest = Checksums()
      var index = slab.lowerBound
      while index < slab.upperBound {
        let whole = index + laneCount <= slab.upperBound
        // The tail goes through the same lanes, one element at a time, for the same bits.
        let g =
          (whole ? gradients.lanes(index) : Lanes(repeating: gradients[index]))
          * step.gradientScale
        let m0 = whole ? firstMoments.lanes(index) : Lanes(repeating: firstMoments[index])
        let v0 = whole ? secondMoments.lanes(index) : Lanes(repeating: secondMoments[index])
        let p0 = whole ? parameters.lanes(index) : Lanes(repeating: parameters[index])
        let m = (m0 * step.beta1).addingProduct(g, Lanes(repeating: 1 - step.beta1))
        let v = (v0 * step.beta2).addingProduct(g * (1 - step.beta2), g)
        let denominator = v.squareRoot() * rootCorrection + step.epsilon
        let p = p0 * keep - m / denominator * stepSize
        if whole {
          firstMoments.setLanes(index, m)
          secondMoments.setLanes(index, v)
          parameters.setLanes(index, p)
          before &+= unsafeBitCast(p0, to: SIMD8<UInt32>.self)
          after &+= unsafeBitCast(p, to: SIMD8<UInt32>.self)
          index += laneCount
        } else {
          (firstMoments[index], secondMoments[index], parameters[index]) = (m[0], v[0], p[0])
          rest.before &+= p0[0].bitPattern
          rest.after &+= p[0].bitPattern
          index += 1
        }
      }
      rest.before &+= before.wrappedSum()
      rest.after &+= after.wrappedSum()
      total.withLock { [rest] in $0 += rest }
    }
    return total.withLock { $0 }
  }
}

/// The sum of the bit patterns that `AdamWKernel` returns, of parameters at rest.
public enum ChecksumKernel {
  public static func sum(
    _ pool: ThreadPool, _ values: UnsafePointer<Float>, count: Int
  ) -> UInt32 {
    let total = Mutex(UInt32(0))
    pool.runSlabs(of: count, granule: 1024, as: .optimizer) { slab, _ in
      var lanes = SIMD8<UInt32>.zero
      var index = slab.lowerBound
      while index + laneCount <= slab.upperBound {
        lanes &+= unsafeBitCast(values.lanes(index), to: SIMD8<UInt32>.self)
        index += laneCount
      }
      var sum = lanes.wrappedSum()
      for rest in index..<slab.upperBound { sum &+= values[rest].bitPattern }
      total.withLock { [sum] in $0 &+= sum }
    }
    return total.withLock { $0 }
  }
}
