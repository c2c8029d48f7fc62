public import NN
public import TensorCore

/// A head that is trained on the features of a frozen encoder.
public protocol ProbeHead: AnyObject {
  var parameters: ParameterTree { get }
  /// Of the features, before the classifier.
  var norm: BatchNorm { get }

  /// Logits `[B, classes]` of features as the encoder gives them: `[B, C]` or `[B, T, C]`.
  ///
  /// - Parameter reducer: Batch statistics are those of all who share it.
  func logits(
    _ features: Variable, _ mode: BatchNorm.Mode, reducer: (any BatchReducer)?, _ tape: Tape
  ) -> Variable
}

/// Linear probing: batch norm without weight and bias, then one linear layer.
///
/// Features `[B, C]`. Parameters `head.weight` `[classes, C]`, normal (0.01), and `head.bias`.
/// - SeeAlso: He et al., "Masked autoencoders", arXiv:2111.06377, appendix A.1.
public final class LinearProbe: ProbeHead {
  public let parameters = ParameterTree()
  public let norm: BatchNorm
  private let head: Classifier

  public init(width: Int, classes: Int) {
    norm = BatchNorm(width: width, epsilon: 1e-6)
    head = Classifier(width: width, classes: classes, in: parameters)
  }

  public func logits(
    _ features: Variable, _ mode: BatchNorm.Mode, reducer: (any BatchReducer)?, _ tape: Tape
  ) -> Variable {
    head(norm(features, mode, reducer: reducer, tape), tape)
  }
}

/// Attentive probing: one learned query attends over all tokens, without residual, MLP and
/// positions; then batch norm without weight and bias and one linear layer.
///
/// `f = BN(CrossAttention(LN(q), LN(T), LN(T)))`, `y = W f + b`, features T `[B, 1 + N, C]`. The query
/// starts at zero: at first it averages the values, and its gradient is 1000 times larger than
/// others', since it goes through the norm of a constant.
/// - SeeAlso: Chen et al., arXiv:2202.03026, section 4.
public final class AttentiveProbe: ProbeHead {
  public let parameters = ParameterTree()
  public let norm: BatchNorm
  private let query: Parameter
  private let queryNorm: LayerNorm
  private let keyNorm: LayerNorm
  private let valueNorm: LayerNorm
  private let attention: CrossAttention
  private let head: Classifier

  public init(width: Int, heads: Int, classes: Int) {
    let block = "attentive_blocks.0"
    query = parameters.add("query_token", [1, 1, width], .constant(0))
    queryNorm = LayerNorm("\(block).norm_q", width, in: parameters)
    keyNorm = LayerNorm("\(block).norm_k", width, in: parameters)
    valueNorm = LayerNorm("\(block).norm_v", width, in: parameters)
    attention = CrossAttention(
      "\(block).cross_attn", width: width, heads: heads, block: 0, in: parameters, .normal)
    norm = BatchNorm(width: width, epsilon: 1e-5)
    head = Classifier(width: width, classes: classes, in: parameters)
  }

  public func logits(
    _ features: Variable, _ mode: BatchNorm.Mode, reducer: (any BatchReducer)?, _ tape: Tape
  ) -> Variable {
    let (batch, width) = (features.shape[0], features.shape[2])
    let attended = attention(
      queries: queries(batch, tape), keys: keyNorm(features, tape),
      values: valueNorm(features, tape), tape)
    return head(
      norm(attended.reshaped([batch, width]), mode, reducer: reducer, tape), tape)
  }

  /// What the query attends to, `[B, heads, 1 + N]`, each row with sum 1.
  public func probabilities(_ features: Variable, _ tape: Tape) -> Tensor {
    attention.probabilities(
      queries: queries(features.shape[0], tape), keys: keyNorm(features, tape), tape)
  }

  private func queries(_ batch: Int, _ tape: Tape) -> Variable {
    queryNorm(tape.repeatToken(query, batch: batch, count: 1), tape)
  }
}

/// The last layer of a probe.
struct Classifier {
  private let weight: Parameter
  private let bias: Parameter

  init(width: Int, classes: Int, in tree: ParameterTree) {
    weight = tree.add("head.weight", [classes, width], .normal(0.01))
    bias = tree.add("head.bias", [classes], .constant(0))
  }

  func callAsFunction(_ features: Variable, _ tape: Tape) -> Variable {
    tape.linear(features, weight: weight, bias: [BiasSlice(bias)])
  }
}
