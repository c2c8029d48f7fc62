public import NN
public import TensorCore

/// The encoder: a vision transformer that sees only the patches it is given.
///
/// Parameters under the given name; fixed sine-cosine positions, class token first, final norm.
/// - SeeAlso: Dosovitskiy et al., arXiv:2010.11929; with visible patches only: CAE,
///   arXiv:2202.03026, section 3.
public final class VisionTransformer {
  /// What encoders of pretraining and of fine-tuning differ in.
  public struct Options: Sendable {
    /// Every block has a learned bias of attention scores by relative position. All patches must
    /// be visible then.
    public var hasRelativePositionBias: Bool
    public var hasFinalNorm: Bool

    public static let pretraining = Options(hasRelativePositionBias: false, hasFinalNorm: true)
    public static let fineTuning = Options(hasRelativePositionBias: true, hasFinalNorm: false)
  }

  public let configuration: VisionTransformerConfiguration
  /// `[patches, C]`.
  public let positions: Tensor
  private let classToken: Parameter
  private let patchEmbedding: Linear
  let blocks: TransformerStack
  private let norm: LayerNorm?

  /// - Parameter name: Before the names of all parameters, with a dot; empty: nothing is.
  public init(
    _ name: String, _ configuration: VisionTransformerConfiguration,
    scheme: InitializationScheme, options: Options = .pretraining, in tree: ParameterTree
  ) {
    let prefix = name.isEmpty ? "" : name + "."
    self.configuration = configuration
    let width = configuration.embedDim
    positions = SinCosPositionEmbedding.table(grid: configuration.grid, width: width)
    classToken = tree.add("\(prefix)cls_token", [1, 1, width], .token)
    patchEmbedding = Linear(
      patchEmbedding: "\(prefix)patch_embed.proj", channels: configuration.channels,
      patchSize: configuration.patchSize, outputs: width, in: tree)
    var block = BlockConfiguration(
      width: width, heads: configuration.numHeads, mlpRatio: configuration.mlpRatio,
      layerScaleInit: configuration.layerScaleInit, scheme: scheme)
    if options.hasRelativePositionBias {
      block.relativePositions = RelativePositionIndex(
        rows: configuration.grid, columns: configuration.grid)
    }
    blocks = TransformerStack(
      "\(prefix)blocks", block, depth: configuration.depth,
      dropPathRate: configuration.dropPathRate, in: tree)
    norm = options.hasFinalNorm ? LayerNorm("\(prefix)norm", width, in: tree) : nil
  }

  /// The position table as published: the zero row of the class token, then the patches.
  public var publishedPositionTable: Tensor {
    VisionTransformer.withClassRow(positions)
  }

  /// That table and the one of a regressor, under their published names.
  func publishedTables(regressor positions: Tensor) -> [NamedBuffer] {
    [
      NamedBuffer(name: "encoder.pos_embed", tensor: publishedPositionTable),
      NamedBuffer(name: "rd_pos_embed", tensor: VisionTransformer.withClassRow(positions)),
    ]
  }

  private static func withClassRow(_ table: Tensor) -> Tensor {
    let full = Tensor(repeating: 0, shape: [1, table.shape[0] + 1, table.shape[1]])
    (full.pointer + table.shape[1]).update(from: table.pointer, count: table.count)
    return full
  }

  /// Latents of the class token and of the kept patches, after the final norm if there is one.
  ///
  /// - Parameters:
  ///   - images: `[B, channels, S, S]`, normalized.
  ///   - patches: `B * count` patch indices, `count` for each image, ascending.
  ///   - branch: First stochastic-depth draw; two a block are used.
  /// - Returns: `[B, 1 + count, C]`.
  public func callAsFunction(
    _ images: Tensor, patches: [Int32], _ context: ForwardContext, branch: Int
  ) -> Variable {
    let latents = blocks(
      embed(images, patches: patches, context), context, branch: branch)
    return norm.map { $0(latents, context.tape) } ?? latents
  }

  /// The class token and the kept patches with their positions, `[B, 1 + count, C]`.
  func embed(_ images: Tensor, patches: [Int32], _ context: ForwardContext) -> Variable {
    let tape = context.tape
    let batch = images.shape[0]
    let count = patches.count / batch
    let pixels = Tensor(uninitialized: [batch, count, configuration.patchValues])
    patches.withUnsafeBufferPointer { indices in
      guard let base = indices.baseAddress else { return }
      TokenKernel.extractPatches(
        tape.pool, images: images.pointer, channels: configuration.channels,
        imageSize: configuration.imageSize, patchSize: configuration.patchSize, positions: base,
        batch: batch, count: count, output: pixels.pointer)
    }
    return tape.addPositions(
      patchEmbedding(.constant(pixels), tape), Positions(table: positions, indices: patches),
      prefix: classToken)
  }
}
