import TensorCore

/// `y = activation(x W^T + b)`; W is `[outputs, inputs]`, b `[outputs]`.
///
/// Parameters `NAME.weight`, `NAME.bias`; the bias starts at zero.
public struct Linear {
  let weight: Parameter
  let bias: Parameter

  public init(
    _ name: String, inputs: Int, outputs: Int, in tree: ParameterTree,
    _ scheme: InitializationScheme, outputOfBlock depth: Int? = nil
  ) {
    weight = tree.add(
      "\(name).weight", [outputs, inputs],
      scheme.linear(fanIn: inputs, fanOut: outputs, outputOfBlock: depth))
    bias = tree.add("\(name).bias", [outputs], .constant(0))
  }

  /// A layer whose weight starts as `weightInitializer` says, such as a classifier.
  public init(
    _ name: String, inputs: Int, outputs: Int, in tree: ParameterTree,
    weightInitializer: Initializer
  ) {
    weight = tree.add("\(name).weight", [outputs, inputs], weightInitializer)
    bias = tree.add("\(name).bias", [outputs], .constant(0))
  }

  /// The patch embedding: a convolution with kernel = stride = patch, as a product with patch rows.
  ///
  /// Its weight keeps the convolution's shape `[outputs, channels, p, p]`, and the start of tokens:
  /// neither initialization scheme draws it as a linear layer.
  public init(
    patchEmbedding name: String, channels: Int, patchSize: Int, outputs: Int,
    in tree: ParameterTree
  ) {
    weight = tree.add(
      "\(name).weight", [outputs, channels, patchSize, patchSize], Initializer.token)
    bias = tree.add("\(name).bias", [outputs], .constant(0))
  }

  public func callAsFunction(
    _ x: Variable, _ tape: Tape, activation: Activation = .none
  ) -> Variable {
    tape.linear(x, weight: weight, bias: [BiasSlice(bias)], activation: activation)
  }
}
