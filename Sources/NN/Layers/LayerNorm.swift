import TensorCore

/// Layer normalization with weight and bias `[C]`, starting at 1 and 0. See `LayerNormKernel`.
public struct LayerNorm {
  /// Of every norm in CAE; PyTorch's default of 1e-5 is not it.
  public static let epsilon: Float = 1e-6

  let weight: Parameter
  let bias: Parameter

  public init(_ name: String, _ width: Int, in tree: ParameterTree) {
    weight = tree.add("\(name).weight", [width], .constant(1))
    bias = tree.add("\(name).bias", [width], .constant(0))
  }

  /// The norm of `x + positions`, x `[B, T, C]`.
  public func callAsFunction(
    _ x: Variable, positions: Positions? = nil, _ tape: Tape
  ) -> Variable {
    self([x], positions: positions, tape)
  }

  /// The norm of the concatenated sequences, without making the concatenation.
  public func callAsFunction(
    _ sources: [Variable], positions: Positions? = nil, _ tape: Tape
  ) -> Variable {
    tape.layerNorm(
      sources, positions: positions, weight: weight, bias: bias, epsilon: LayerNorm.epsilon)
  }
}
