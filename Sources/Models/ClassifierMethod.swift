public import NN
public import TensorCore

/// A method that learns classes: it can be judged by its own answers, and starts from the encoder of
/// another one.
public protocol ClassifierMethod: PretrainingMethod {
  var classes: Int { get }

  /// Logits `[B, classes]` of images `[B, channels, S, S]`, none of which is recorded.
  func logits(of images: Tensor, _ context: ForwardContext) -> Tensor

  /// The parameter of a pretrained model that one of its own starts from; nil: it starts as drawn.
  static func pretrainedName(of parameter: String) -> String?
}
