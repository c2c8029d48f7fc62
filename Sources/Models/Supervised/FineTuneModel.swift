public import NN
public import TensorCore

/// A classifier on a pretrained encoder, all of whose parameters are trained.
///
/// All patches are visible; blocks with relative position bias, no final norm; the mean of the
/// patch tokens, `fc_norm`, a linear layer. Parameters have the encoder's names without prefix,
/// `blocks.i.attn.relative_position_bias_table`, `fc_norm.*` and `head.*`.
///
/// - SeeAlso: Fine-tuning of CAE, arXiv:2202.03026, and BEiT, arXiv:2106.08254.
public final class FineTuneModel {
  public let configuration: VisionTransformerConfiguration
  public let classes: Int
  private let encoder: VisionTransformer
  private let norm: LayerNorm
  private let head: Linear
  private let patches: [Int32]

  /// Registers all parameters; their learning rates are scaled layer by layer, and the class token
  /// is not decayed.
  ///
  /// - Parameters:
  ///   - layerDecay: Learning rates fall by this factor from each block to the one before; 1: all
  ///     are equal. See `learningRateScale`.
  ///   - tree: Has no other parameters.
  public init(
    _ configuration: VisionTransformerConfiguration, classes: Int, layerDecay: Double,
    scheme: InitializationScheme, in tree: ParameterTree
  ) {
    self.configuration = configuration
    self.classes = classes
    encoder = VisionTransformer(
      "", configuration, scheme: scheme, options: .fineTuning, in: tree)
    norm = LayerNorm("fc_norm", configuration.embedDim, in: tree)
    head = Linear(
      "head", inputs: configuration.embedDim, outputs: classes, in: tree,
      weightInitializer: FineTuneModel.headInitializer)
    patches = (0..<Int32(configuration.patchCount)).map { $0 }
    let depth = configuration.depth
    tree.exemptFromWeightDecay(["cls_token"])
    tree.scaleLearningRates { name in
      FineTuneModel.learningRateScale(of: name, depth: depth, layerDecay: layerDecay)
    }
  }

  /// Normal(0.02) cut at +-2, times 0.001. The cut lies 100 deviations out, where no draw comes; at
  /// 5.5 it is inside of what the quantile function is exact for, and one value of 10^7 beyond.
  private static let headInitializer = Initializer.truncatedNormal(
    standardDeviation: 0.02, cut: 5.5, scale: 0.001)

  /// `layerDecay^(depth + 1 - group)`; group 0 is the class token and the patch embedding, i + 1
  /// block i, depth + 1 `fc_norm` and the head.
  public static func learningRateScale(
    of name: String, depth: Int, layerDecay: Double
  ) -> Double {
    var scale = 1.0
    for _ in group(of: name, depth: depth)..<depth + 1 { scale *= layerDecay }
    return scale
  }

  private static func group(of name: String, depth: Int) -> Int {
    let parts = name.split(separator: ".")
    switch parts.first {
    case "cls_token", "pos_embed", "patch_embed": return 0
    case "blocks": return (parts.dropFirst().first.flatMap { Int($0) } ?? depth) + 1
    default: return depth + 1
    }
  }

  /// The parameter of a pretraining model that one here starts from: `fc_norm.*` from
  /// `encoder.norm.*`, others from that of the same name with `encoder.` before it; nil for head and
  /// relative position biases, which start as drawn.
  public static func pretrainedName(of name: String) -> String? {
    if name.hasPrefix("head.") || name.hasSuffix(".relative_position_bias_table") { return nil }
    return "encoder." + (name.hasPrefix("fc_norm.") ? String(name.dropFirst(3)) : name)
  }

  /// - Parameter images: `[B, channels, S, S]`, normalized.
  /// - Returns: Logits `[B, classes]`.
  public func callAsFunction(_ images: Tensor, _ context: ForwardContext) -> Variable {
    let (tape, batch) = (context.tape, images.shape[0])
    let visible = (0..<batch).flatMap { _ in patches }
    let tokens = encoder(images, patches: visible, context, branch: 0)
    return head(norm(tape.meanOfTokens(tokens), tape), tape).reshaped([batch, classes])
  }
}
