import TensorCore

/// An optimizer with one momentum buffer that every rank runs alike on the same gradients: for heads
/// on frozen features, which are small.
public protocol MomentumOptimizer: AnyObject {
  /// In the layout of the parameters.
  var momentum: FlatBuffer { get }

  /// One update.
  ///
  /// - Parameters:
  ///   - gradients: Sums.
  ///   - scale: What makes them means.
  func update(
    _ parameters: FlatBuffer, gradients: FlatBuffer, scale: Float, learningRate: Float)
}

/// Stochastic gradient descent with Nesterov's momentum, no weight decay:
/// `m = 0.9 m + g`, `p = p - lr (g + 0.9 m)`.
///
/// - SeeAlso: Sutskever et al., ICML 2013, in the form of PyTorch's SGD(nesterov=True).
public final class NesterovSGD: MomentumOptimizer {
  private static let decay: Float = 0.9
  public let momentum: FlatBuffer

  public init(for tree: ParameterTree) {
    momentum = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "momentum")
  }

  public func update(
    _ parameters: FlatBuffer, gradients: FlatBuffer, scale: Float, learningRate: Float
  ) {
    let (p, g, m) = (parameters.pointer, gradients.pointer, momentum.pointer)
    for index in 0..<parameters.count {
      let gradient = g[index] * scale
      m[index] = NesterovSGD.decay * m[index] + gradient
      p[index] -= learningRate * (gradient + NesterovSGD.decay * m[index])
    }
  }
}

/// Layer-wise adaptive rates without weight decay: the gradient of a tensor of more than one
/// dimension is first scaled by `0.001 |p| / |g|`, where neither norm is 0; then
/// `m = 0.9 m + g`, `p = p - lr m`.
///
/// - Precision: Norms in Double.
/// - SeeAlso: You et al., arXiv:1708.03888, in the form of MoCo v3's and MAE's linear probes.
public final class LARS: MomentumOptimizer {
  private static let decay: Float = 0.9
  private static let trust = 0.001
  public let momentum: FlatBuffer
  private let tree: ParameterTree

  public init(for tree: ParameterTree) {
    self.tree = tree
    momentum = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "momentum")
  }

  public func update(
    _ parameters: FlatBuffer, gradients: FlatBuffer, scale: Float, learningRate: Float
  ) {
    for entry in tree.entries {
      let parameter = entry.parameter
      let (p, g, m) = (
        parameters.pointer(parameter), gradients.pointer(parameter), momentum.pointer(parameter)
      )
      var factor = scale
      if parameter.shape.rank > 1 {
        let (weight, gradient) = (
          LARS.norm(p, parameter.count), LARS.norm(g, parameter.count) * Double(scale)
        )
        if weight > 0, gradient > 0 { factor *= Float(LARS.trust * weight / gradient) }
      }
      for index in 0..<parameter.count {
        m[index] = LARS.decay * m[index] + g[index] * factor
        p[index] -= learningRate * m[index]
      }
    }
  }

  private static func norm(_ values: UnsafePointer<Float>, _ count: Int) -> Double {
    var sum = 0.0
    for index in 0..<count { sum += Double(values[index]) * Double(values[index]) }
    return sum.squareRoot()
  }
}
