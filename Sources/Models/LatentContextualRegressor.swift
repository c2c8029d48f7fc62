public import NN
import TensorCore

/// Predicts latents of masked patches: learned mask queries attend to the visible latents and to
/// themselves.
///
/// Block l, with queries Q `[B, M, C]`, visible latents Z `[B, V, C]` (never updated) and fixed
/// positions p:
///
///     a = CrossAttention(LNq(Q + p_M), LNk([Z ; Q] + p), LNv([Z ; Q]))
///     u = LN2(Q + s1 gamma1 a)
///     Q = u + s2 gamma2 MLP(u)
///
/// The second residual starts from the *normalized* u; positions enter queries and keys, never
/// values. Parameters under `regresser.` (the published spelling).
/// - SeeAlso: CAE, arXiv:2202.03026, section 3.1.
public struct LatentContextualRegressor {
  private let blocks: [Block]
  private let norm: LayerNorm?
  private let maskQuery: Parameter

  /// - Parameter hasNorm: CAE normalizes what comes out, CAE v2 does not.
  public init(
    _ configuration: BlockConfiguration, depth: Int, dropPathRate: Double, in tree: ParameterTree,
    maskQuery: Parameter, hasNorm: Bool = true
  ) {
    self.maskQuery = maskQuery
    blocks = (0..<depth).map { index in
      Block(
        "regresser.regressor_blocks.\(index)", configuration, index: index,
        dropPathRate: linearRate(dropPathRate, index, of: depth), in: tree)
    }
    norm = hasNorm ? LayerNorm("regresser.norm", configuration.width, in: tree) : nil
  }

  /// - Parameters:
  ///   - visible: Z, `[B, V, C]`.
  ///   - maskedPositions: Positions of the masked patches, row by row.
  ///   - keyPositions: Positions of the visible, then of the masked patches of each sample.
  ///   - branch: First stochastic-depth draw; two a block are used.
  /// - Returns: `[B, M, C]`.
  public func callAsFunction(
    visible: Variable, maskedCount: Int, maskedPositions: Positions, keyPositions: Positions,
    _ context: ForwardContext, branch: Int
  ) -> Variable {
    var queries = context.tape.repeatToken(
      maskQuery, batch: visible.shape[0], count: maskedCount)
    for (index, block) in blocks.enumerated() {
      queries = block(
        queries, visible, maskedPositions, keyPositions, context, branch: branch + 2 * index)
    }
    return norm.map { $0(queries, context.tape) } ?? queries
  }

  private struct Block {
    let normQ: LayerNorm
    let normK: LayerNorm
    let normV: LayerNorm
    let norm2: LayerNorm
    let attention: CrossAttention
    let mlp: MLP
    let gamma1: Parameter?
    let gamma2: Parameter?
    let dropPathRate: Double

    init(
      _ name: String, _ configuration: BlockConfiguration, index: Int, dropPathRate: Double,
      in tree: ParameterTree
    ) {
      self.dropPathRate = dropPathRate
      gamma1 = configuration.layerScale("\(name).gamma_1_cross", in: tree)
      gamma2 = configuration.layerScale("\(name).gamma_2_cross", in: tree)
      normQ = LayerNorm("\(name).norm1_q", configuration.width, in: tree)
      normK = LayerNorm("\(name).norm1_k", configuration.width, in: tree)
      normV = LayerNorm("\(name).norm1_v", configuration.width, in: tree)
      norm2 = LayerNorm("\(name).norm2_cross", configuration.width, in: tree)
      attention = CrossAttention(
        "\(name).cross_attn", width: configuration.width, heads: configuration.heads,
        block: index, in: tree, configuration.scheme)
      mlp = MLP("\(name).mlp_cross", configuration, block: index, in: tree)
    }

    func callAsFunction(
      _ queries: Variable, _ visible: Variable, _ maskedPositions: Positions,
      _ keyPositions: Positions, _ context: ForwardContext, branch: Int
    ) -> Variable {
      context.tape.checkpointed([queries, visible]) { inputs in
        let (queries, visible, tape) = (inputs[0], inputs[1], context.tape)
        let attended = attention(
          queries: normQ(queries, positions: maskedPositions, tape),
          keys: normK([visible, queries], positions: keyPositions, tape),
          values: normV([visible, queries], tape), tape)
        let u = norm2(
          tape.residual(
            queries, attended, gamma: gamma1,
            sampleScale: context.dropPathScale(rate: dropPathRate, branch: branch)), tape)
        return tape.residual(
          u, mlp(u, tape), gamma: gamma2,
          sampleScale: context.dropPathScale(rate: dropPathRate, branch: branch + 1))
      }
    }
  }
}
