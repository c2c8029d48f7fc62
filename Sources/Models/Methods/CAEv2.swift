public import Interfaces
public import NN
public import TensorCore

/// Context Autoencoder version 2: features of a teacher are the target, of visible patches as well as
/// of masked ones.
///
/// The encoder sees visible patches only, the latent contextual regressor predicts the latents of the
/// masked ones, and one head maps the class token, visible and masked latents to the teacher's
/// features. There is neither a decoder nor an alignment loss.
///
/// `loss = mean over tokens of 1 - cos(head(norm(latent)), teacher's feature)`
///
/// - SeeAlso: Zhang et al., "CAE v2: Context Autoencoder with CLIP Latent Alignment", TMLR 2023,
///   arXiv:2211.09799.
public final class CAEv2: PretrainingMethod {
  public static let name = "cae-v2"

  public struct Configuration: MaskedConfiguration, Codable, Sendable, Equatable {
    /// Whose features the loss is about.
    public enum Supervision: String, Codable, Sendable, CaseIterable {
      /// Class token, visible and masked patches, each as one token of the mean.
      case both
      /// Class token and visible patches.
      case visible
      case masked
    }

    public var mask = MaskKind.block
    /// 98 of 196 for ViT-B, 49 for ViT-S, 30 for ViT-T: more for larger models.
    public var numMaskedPatches = 98
    /// Smallest block of a block mask.
    public var minimumMaskBlock = 16
    public var supervision = Supervision.both
    /// Width of the regressor; other than the encoder's: a projection stands between.
    public var decoderDim = 768
    public var decoderHeads = 12
    /// 4 for ViT-B, 1 for smaller ones.
    public var regressorDepth = 4
    /// Start of the layer scale in the regressor; 0: none.
    public var decoderLayerScaleInit = 0.1
    public var initialization = InitializationScheme.xavier
    /// Path of the teacher's weights; not looked at where `data.targets` names targets.
    public var teacher = ""

    public init() {}
  }

  public static let defaultConfiguration = Configuration()

  public let parameters = ParameterTree()
  public let views: [ViewSpecification]
  private let network: CAEv2Network
  private let configuration: Configuration
  private let features: FeatureSource
  private let masking: Masking

  public init(
    _ configuration: Configuration, _ context: MethodContext
  ) throws(ConfigurationError) {
    try configuration.validate(for: context.model)
    masking = try Masking(configuration, grid: context.model.grid)
    features = try context.openFeatures(configuration.teacher)
    try features.require(grid: context.model.grid, key: "method.teacher")
    self.configuration = configuration
    views = features.views(encoder: context.encoderView)
    network = CAEv2Network(
      context.model, configuration, targetWidth: features.width, in: parameters)
  }

  public var buffers: [NamedBuffer] { network.positionTables }

  public func losses(for batch: Batch, _ context: ForwardContext) -> MethodOutput {
    let targets = features.features(for: batch, pool: context.tape.pool)
    let result = network.forward(
      images: batch.views[0], mask: masking.mask(batch.keys, seed: context.step.seed),
      targets: targets, context)
    return MethodOutput(
      terms: [LossTerm(name: "Latent", loss: result.loss, weight: 1)],
      scalars: [("cosine", 1 - result.loss.value)])
  }
}

extension CAEv2.Configuration {
  /// - Throws: A sentence for the first value that fits no model.
  public func validate(for model: VisionTransformerConfiguration) throws(ConfigurationError) {
    try model.validate()
    try VisionTransformerConfiguration.validate(
      width: decoderDim, heads: decoderHeads, widthKey: "method.decoderDim",
      headsKey: "method.decoderHeads")
    guard regressorDepth > 0 else {
      throw ConfigurationError("method.regressorDepth", "must be at least 1")
    }
    guard decoderLayerScaleInit >= 0, decoderLayerScaleInit.isFinite else {
      throw ConfigurationError("method.decoderLayerScaleInit", "must not be negative")
    }
  }
}

/// Encoder, regressor and head of CAE v2, without data: what `verify` checks against references.
public final class CAEv2Network {
  public struct Result {
    /// `[B, 1 + P, T]`: class, visible, masked; backward overwrites them.
    public let features: Variable
    /// What the head sees, `[B, 1 + P, decoderDim]` in the same order: latents of the encoder and of
    /// the regressor after the head's norm.
    public let latents: Variable
    public let loss: ScalarVariable
  }

  /// First stochastic-depth draw of each stack.
  private enum Branch {
    static let encoder = 0
    static let regressor = 2000
  }

  private let encoder: VisionTransformer
  private let projection: LatentProjection?
  private let regressor: LatentContextualRegressor
  private let headNorm: LayerNorm
  private let head: Linear
  private let supervision: CAEv2.Configuration.Supervision
  /// `[patches, decoderDim]`.
  private let positions: Tensor

  public init(
    _ model: VisionTransformerConfiguration, _ configuration: CAEv2.Configuration,
    targetWidth: Int, in tree: ParameterTree
  ) {
    let (width, scheme) = (configuration.decoderDim, configuration.initialization)
    let blocks = BlockConfiguration(
      width: width, heads: configuration.decoderHeads, mlpRatio: model.mlpRatio,
      layerScaleInit: configuration.decoderLayerScaleInit, scheme: scheme)
    let maskQuery = tree.add("mask_token", [1, 1, width], .token)
    encoder = VisionTransformer("encoder", model, scheme: scheme, in: tree)
    projection = LatentProjection(from: model.embedDim, to: width, scheme, in: tree)
    regressor = LatentContextualRegressor(
      blocks, depth: configuration.regressorDepth, dropPathRate: model.dropPathRate, in: tree,
      maskQuery: maskQuery, hasNorm: false)
    headNorm = LayerNorm("decoder.norm", width, in: tree)
    head = Linear("decoder.head", inputs: width, outputs: targetWidth, in: tree, scheme)
    supervision = configuration.supervision
    positions = SinCosPositionEmbedding.table(grid: model.grid, width: width)
  }

  /// The fixed tables under their published names.
  public var positionTables: [NamedBuffer] { encoder.publishedTables(regressor: positions) }

  /// - Parameters:
  ///   - images: `[B, C, S, S]`, normalized.
  ///   - targets: Features of the teacher, `[B, 1 + P, T]`: the class token's, then the patches' in
  ///     raster order.
  public func forward(
    images: Tensor, mask: PatchMask, targets: Tensor, _ context: ForwardContext
  ) -> Result {
    let tape = context.tape
    let encoded = encoder(images, patches: mask.visible, context, branch: Branch.encoder)
    let tokens = projection.map { $0(encoded, tape) } ?? encoded
    let predicted = regressor(
      visible: tape.sliceTokens(tokens, start: 1, count: mask.visibleCount),
      maskedCount: mask.maskedCount,
      maskedPositions: Positions(table: positions, indices: mask.masked),
      keyPositions: Positions(table: positions, indices: mask.visibleThenMasked), context,
      branch: Branch.regressor)
    let latents = headNorm([tokens, predicted], tape)
    let features = head(latents, tape)
    let loss = tape.cosineDistance(
      features, target: targets.ordered(by: mask), counted: counted(mask))
    return Result(features: features, latents: latents, loss: loss)
  }

  /// Of the tokens class, visible, masked.
  private func counted(_ mask: PatchMask) -> Range<Int> {
    let (seen, all) = (1 + mask.visibleCount, 1 + mask.visibleCount + mask.maskedCount)
    switch supervision {
    case .both: return 0..<all
    case .visible: return 0..<seen
    case .masked: return seen..<all
    }
  }
}

extension Tensor {
  /// Rows class, patches in raster order, as rows class, visible, masked.
  fileprivate func ordered(by mask: PatchMask) -> Tensor {
    let (batch, tokens, columns) = (shape[0], shape[1], shape[2])
    let ordered = Tensor(uninitialized: shape)
    let patches = mask.visibleThenMasked
    for sample in 0..<batch {
      let start = sample * tokens
      for token in 0..<tokens {
        let source = token == 0 ? 0 : 1 + Int(patches[sample * (tokens - 1) + token - 1])
        (ordered.pointer + (start + token) * columns).update(
          from: pointer + (start + source) * columns, count: columns)
      }
    }
    return ordered
  }
}
