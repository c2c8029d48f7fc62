public import Models
import NN
public import TensorCore

/// A trained attentive head, to be looked at.
public struct SavedProbe {
  private let probe: AttentiveProbe
  private let tape: Tape

  /// - Parameters:
  ///   - path: The head that `cae-dist evaluate attentive` has written.
  ///   - model: Of the encoder that it was trained on.
  /// - Throws: Where the file is something else, or of another model.
  public init(
    path: String, model: VisionTransformerConfiguration, pool: ThreadPool
  ) throws {
    let classes = try ProbeFile(path: path).classes
    probe = AttentiveProbe(width: model.embedDim, heads: model.numHeads, classes: classes)
    let parameters = FlatBuffer(
      for: probe.parameters, allocator: HeapAllocator(), purpose: "parameters")
    try ProbeFile(path: path).read(probe.parameters, into: parameters)
    tape = Tape(parameters: parameters, pool: pool)
  }

  /// What the query attends to among all tokens `[B, 1 + N, C]`: `[B, heads, 1 + N]`.
  public func attention(over tokens: Tensor) -> Tensor {
    tape.withoutGradient { probe.probabilities(.constant(tokens), tape) }
  }
}
