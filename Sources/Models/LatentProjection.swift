import NN

/// Brings the encoder's latents to the regressor's width: a linear layer and a norm.
struct LatentProjection {
  private let linear: Linear
  private let norm: LayerNorm

  /// - Returns: Nil where the widths are equal: nothing is between then.
  init?(from inputs: Int, to width: Int, _ scheme: InitializationScheme, in tree: ParameterTree) {
    guard inputs != width else { return nil }
    linear = Linear("encoder_to_regresser", inputs: inputs, outputs: width, in: tree, scheme)
    norm = LayerNorm("encoder_to_regresser_norm", width, in: tree)
  }

  func callAsFunction(_ latents: Variable, _ tape: Tape) -> Variable {
    norm(linear(latents, tape), tape)
  }
}
