public import Interfaces
public import NN
public import TensorCore

/// Context Autoencoder.
///
/// The encoder sees visible patches only; the latent contextual regressor predicts the latents of
/// the masked ones; the alignment loss pulls them to the encoder's own latents of those patches
/// (no gradient, current weights); the decoder turns them into target tokens.
///
/// `loss = crossEntropy(logits, tokens) + alignmentWeight * mean((predicted - target)^2)`
///
/// - SeeAlso: Chen et al., "Context Autoencoder for Self-Supervised Representation Learning",
///   arXiv:2202.03026.
public final class CAE: PretrainingMethod {
  public static let name = "cae"

  public struct Configuration: MaskedConfiguration, Codable, Sendable, Equatable {
    public var mask = MaskKind.block
    public var numMaskedPatches = 98
    /// Smallest block of a block mask.
    public var minimumMaskBlock = 16
    /// Width of regressor and decoder; other than the encoder's: a projection stands between.
    public var decoderDim = 768
    public var decoderHeads = 12
    public var regressorDepth = 4
    public var decoderDepth = 4
    /// Start of the layer scale in regressor and decoder; 0: none.
    public var decoderLayerScaleInit = 0.1
    public var alignmentWeight = 2.0
    public var initialization = InitializationScheme.xavier
    /// Path of the tokenizer's file; not looked at where `data.targets` names targets.
    public var tokenizer = ""

    public init() {}
  }

  public static let defaultConfiguration = Configuration()

  public let parameters: ParameterTree
  private let network: CAENetwork
  private let configuration: Configuration
  public let views: [ViewSpecification]
  private let tokens: TokenSource
  private let masking: Masking

  public init(
    _ configuration: Configuration, _ context: MethodContext
  ) throws(ConfigurationError) {
    try configuration.validate(for: context.model)
    masking = try Masking(configuration, grid: context.model.grid)
    tokens = try context.openTokens(configuration.tokenizer)
    try tokens.require(grid: context.model.grid, key: "method.tokenizer")
    self.configuration = configuration
    views = tokens.views(encoder: context.encoderView)
    parameters = ParameterTree()
    network = CAENetwork(
      context.model, configuration, vocabularySize: tokens.vocabularySize, in: parameters)
  }

  public var buffers: [NamedBuffer] { network.positionTables }

  public func losses(for batch: Batch, _ context: ForwardContext) -> MethodOutput {
    let mask = masking.mask(batch.keys, seed: context.step.seed)
    let patches = tokens.grid * tokens.grid
    let all = tokens.tokens(for: batch, pool: context.tape.pool)
    let targets = mask.masked.enumerated().map { index, patch in
      all[index / mask.maskedCount * patches + Int(patch)]
    }
    let result = network.forward(
      images: batch.views[0], mask: mask, targets: TokenIndices(targets), context)
    return MethodOutput(
      terms: [
        LossTerm(name: "Reconstruction", loss: result.reconstruction, weight: 1),
        LossTerm(
          name: "Alignment", loss: result.alignment, weight: configuration.alignmentWeight),
      ],
      scalars: [("tokenAccuracy", Double(result.correct) / Double(targets.count))])
  }
}

extension CAE.Configuration {
  /// - Throws: A sentence for the first value that fits no model.
  public func validate(for model: VisionTransformerConfiguration) throws(ConfigurationError) {
    try model.validate()
    try VisionTransformerConfiguration.validate(
      width: decoderDim, heads: decoderHeads, widthKey: "method.decoderDim",
      headsKey: "method.decoderHeads")
    guard regressorDepth > 0 else {
      throw ConfigurationError("method.regressorDepth", "must be at least 1")
    }
    guard decoderDepth >= 0 else {
      throw ConfigurationError("method.decoderDepth", "must not be negative")
    }
    guard alignmentWeight >= 0, decoderLayerScaleInit >= 0, minimumMaskBlock > 0 else {
      throw ConfigurationError(
        "method",
        "alignmentWeight and decoderLayerScaleInit must not be negative, minimumMaskBlock must be "
          + "at least 1")
    }
  }
}

/// Encoder, regressor and decoder of CAE, without data: what `verify` checks against references.
public final class CAENetwork {
  /// Everything that one forward pass makes.
  public struct Result {
    /// `[B, M, vocabulary]`; backward overwrites it.
    public let logits: Variable
    /// Regressor output and its target, `[B, M, decoderDim]`.
    public let predictedLatents: Variable
    public let targetLatents: Variable
    public let reconstruction: ScalarVariable
    public let alignment: ScalarVariable
    /// Masked patches whose most likely token is the target.
    public let correct: Int
  }

  /// First stochastic-depth draw of each stack: the target branch draws its own.
  private enum Branch {
    static let encoder = 0
    static let target = 1000
    static let regressor = 2000
    static let decoder = 3000
  }

  private let encoder: VisionTransformer
  private let projection: LatentProjection?
  private let regressor: LatentContextualRegressor
  private let decoder: TransformerStack
  private let decoderNorm: LayerNorm
  private let head: Linear
  /// `[patches, decoderDim]`.
  private let positions: Tensor

  public init(
    _ model: VisionTransformerConfiguration, _ configuration: CAE.Configuration,
    vocabularySize: Int, in tree: ParameterTree
  ) {
    let width = configuration.decoderDim
    let scheme = configuration.initialization
    let blocks = BlockConfiguration(
      width: width, heads: configuration.decoderHeads, mlpRatio: model.mlpRatio,
      layerScaleInit: configuration.decoderLayerScaleInit, scheme: scheme)
    let maskQuery = tree.add("mask_token", [1, 1, width], .token)
    encoder = VisionTransformer("encoder", model, scheme: scheme, in: tree)
    projection = LatentProjection(from: model.embedDim, to: width, scheme, in: tree)
    regressor = LatentContextualRegressor(
      blocks, depth: configuration.regressorDepth, dropPathRate: model.dropPathRate, in: tree,
      maskQuery: maskQuery)
    decoder = TransformerStack(
      "decoder.decoder_blocks", blocks, depth: configuration.decoderDepth,
      dropPathRate: model.dropPathRate, in: tree)
    decoderNorm = LayerNorm("decoder.norm", width, in: tree)
    head = Linear("decoder.head", inputs: width, outputs: vocabularySize, in: tree, scheme)
    positions = SinCosPositionEmbedding.table(grid: model.grid, width: width)
  }

  /// The fixed tables under their published names.
  public var positionTables: [NamedBuffer] { encoder.publishedTables(regressor: positions) }

  /// - Parameters:
  ///   - images: `[B, C, S, S]`, normalized.
  ///   - targets: Tokens of the masked patches, ascending patch index, sample by sample.
  public func forward(
    images: Tensor, mask: PatchMask, targets: TokenIndices, _ context: ForwardContext
  ) -> Result {
    let tape = context.tape
    let visible = latents(images, mask.visible, context, branch: Branch.encoder)
    let target = tape.withoutGradient {
      latents(images, mask.masked, context, branch: Branch.target)
    }
    let maskedPositions = Positions(table: positions, indices: mask.masked)
    let predicted = regressor(
      visible: visible, maskedCount: mask.maskedCount, maskedPositions: maskedPositions,
      keyPositions: Positions(table: positions, indices: mask.visibleThenMasked), context,
      branch: Branch.regressor)
    let decoded = decoder(
      tape.addPositions(predicted, maskedPositions), context, branch: Branch.decoder)
    let logits = head(decoderNorm(decoded, tape), tape)
    let (reconstruction, correct) = tape.crossEntropy(logits, targets: targets)
    return Result(
      logits: logits, predictedLatents: predicted, targetLatents: target,
      reconstruction: reconstruction,
      alignment: tape.meanSquaredError(predicted, target: target), correct: correct)
  }

  /// Latents of the given patches at the regressor's width; the class token is dropped after it
  /// has taken part in the encoder's attention.
  private func latents(
    _ images: Tensor, _ patches: [Int32], _ context: ForwardContext, branch: Int
  ) -> Variable {
    let tape = context.tape
    let encoded = encoder(images, patches: patches, context, branch: branch)
    let tokens = tape.sliceTokens(encoded, start: 1, count: encoded.shape[1] - 1)
    return projection.map { $0(tokens, tape) } ?? tokens
  }
}
