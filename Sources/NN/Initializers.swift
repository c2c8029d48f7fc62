import Glibc
import TensorCore

/// Distribution of a parameter's initial values.
public enum Initializer: Sendable, Equatable {
  case constant(Float)
  /// Normal with mean 0, cut at `cut` standard deviations, times `scale`.
  case truncatedNormal(standardDeviation: Double, cut: Double, scale: Double)
  /// Uniform on +-sqrt(6 / (fanIn + fanOut)).
  case xavierUniform(fanIn: Int, fanOut: Int)

  /// Normal(0.02) cut at one standard deviation: class token, mask query, patch embedding.
  public static let token = Initializer.truncatedNormal(standardDeviation: 0.02, cut: 1, scale: 1)

  /// Normal with mean 0; six standard deviations are the end: heads of probes.
  public static func normal(_ standardDeviation: Double) -> Initializer {
    .truncatedNormal(standardDeviation: standardDeviation, cut: 6, scale: 1)
  }

  func fill(_ buffer: UnsafeMutableBufferPointer<Float>, _ random: inout CounterRandom) {
    switch self {
    case .constant(let value):
      buffer.update(repeating: value)
    case .truncatedNormal(let deviation, let cut, let scale):
      // Uniform over the kept part of the distribution, through the inverse of its function.
      let low = 0.5 * (1 + Glibc.erf(-cut / 2.0.squareRoot()))
      for index in buffer.indices {
        let quantile = random.uniform(low, 1 - low)
        let normal = min(max(Initializer.normalQuantile(quantile), -cut), cut)
        buffer[index] = Float(normal * deviation * scale)
      }
    case .xavierUniform(let fanIn, let fanOut):
      let bound = (6 / Double(fanIn + fanOut)).squareRoot()
      for index in buffer.indices { buffer[index] = Float(random.uniform(-bound, bound)) }
    }
  }

  /// Inverse of the standard normal distribution function: a bisection-free Newton iteration on
  /// erfc, from a logistic guess; exact to 1e-12 for quantiles in [1e-8, 1 - 1e-8].
  static func normalQuantile(_ quantile: Double) -> Double {
    var x = 1 / 1.702 * Glibc.log(quantile / (1 - quantile))
    for _ in 0..<20 {
      let error = 0.5 * Glibc.erfc(-x / 2.0.squareRoot()) - quantile
      let density = Glibc.exp(-0.5 * x * x) / (2 * Double.pi).squareRoot()
      let change = error / density
      // Halley's correction keeps the far tails from overshooting.
      x -= change / (1 + 0.5 * x * change)
      if abs(change) < 1e-14 { break }
    }
    return x
  }
}

/// How a vision transformer's weights start (CAE, section "initialisation").
public enum InitializationScheme: String, Codable, Sendable {
  /// Every linear weight Xavier-uniform: what CAE-S and CAE-B end up with.
  case xavier
  /// Truncated normal (0.02, cut at one standard deviation); output projections of block i divided
  /// by sqrt(2 (i + 1)): what CAE-L keeps.
  case truncatedNormal
  /// Normal (0.02): the attentive probe.
  case normal

  /// - Parameter depth: Index of the block for a projection back to the residual stream.
  func linear(fanIn: Int, fanOut: Int, outputOfBlock depth: Int? = nil) -> Initializer {
    switch self {
    case .xavier:
      return .xavierUniform(fanIn: fanIn, fanOut: fanOut)
    case .truncatedNormal:
      let scale = depth.map { 1 / (2 * Double($0 + 1)).squareRoot() } ?? 1
      return .truncatedNormal(standardDeviation: 0.02, cut: 1, scale: scale)
    case .normal:
      return .normal(0.02)
    }
  }
}
