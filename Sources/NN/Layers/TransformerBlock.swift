import TensorCore

/// Sizes and rates that the blocks of one stack share.
public struct BlockConfiguration: Sendable {
  public var width: Int
  public var heads: Int
  public var mlpRatio: Double
  /// Start of the layer scale; 0: no layer scale.
  public var layerScaleInit: Double
  public var scheme: InitializationScheme
  /// Of the bias of self-attention in every block; nil: no bias.
  public var relativePositions: RelativePositionIndex?

  public init(
    width: Int, heads: Int, mlpRatio: Double, layerScaleInit: Double, scheme: InitializationScheme
  ) {
    self.width = width
    self.heads = heads
    self.mlpRatio = mlpRatio
    self.layerScaleInit = layerScaleInit
    self.scheme = scheme
  }

  var hiddenWidth: Int { Int(Double(width) * mlpRatio) }

  /// The layer scale of one branch, or nil where there is none.
  public func layerScale(_ name: String, in tree: ParameterTree) -> Parameter? {
    layerScaleInit > 0 ? tree.add(name, [width], .constant(Float(layerScaleInit))) : nil
  }
}

/// `W2 GELU(W1 x + b1) + b2`.
public struct MLP {
  private let fc1: Linear
  private let fc2: Linear

  public init(
    _ name: String, _ configuration: BlockConfiguration, block: Int, in tree: ParameterTree
  ) {
    let (width, hidden) = (configuration.width, configuration.hiddenWidth)
    fc1 = Linear("\(name).fc1", inputs: width, outputs: hidden, in: tree, configuration.scheme)
    fc2 = Linear(
      "\(name).fc2", inputs: hidden, outputs: width, in: tree, configuration.scheme,
      outputOfBlock: block)
  }

  public func callAsFunction(_ x: Variable, _ tape: Tape) -> Variable {
    fc2(fc1(x, tape, activation: .gelu), tape)
  }
}

/// Pre-norm transformer block with layer scale and stochastic depth.
///
/// `x = x + s1 gamma1 Attention(LN1(x))`, then `x = x + s2 gamma2 MLP(LN2(x))`, x `[B, T, C]`.
public struct TransformerBlock {
  let norm1: LayerNorm
  let attention: SelfAttention
  private let norm2: LayerNorm
  private let mlp: MLP
  private let gamma1: Parameter?
  private let gamma2: Parameter?
  private let dropPathRate: Double

  /// - Parameter index: Place in the stack; scales the truncated-normal start.
  public init(
    _ name: String, _ configuration: BlockConfiguration, index: Int, dropPathRate: Double,
    in tree: ParameterTree
  ) {
    self.dropPathRate = dropPathRate
    gamma1 = configuration.layerScale("\(name).gamma_1", in: tree)
    gamma2 = configuration.layerScale("\(name).gamma_2", in: tree)
    norm1 = LayerNorm("\(name).norm1", configuration.width, in: tree)
    attention = SelfAttention(
      "\(name).attn", width: configuration.width, heads: configuration.heads, block: index,
      in: tree, configuration.scheme, relativePositions: configuration.relativePositions)
    norm2 = LayerNorm("\(name).norm2", configuration.width, in: tree)
    mlp = MLP("\(name).mlp", configuration, block: index, in: tree)
  }

  /// - Parameter branch: First of the two stochastic-depth draws.
  public func callAsFunction(
    _ x: Variable, _ context: ForwardContext, branch: Int
  ) -> Variable {
    context.tape.checkpointed([x]) { inputs in
      let (x, tape) = (inputs[0], context.tape)
      let attended = tape.residual(
        x, attention(norm1(x, tape), tape), gamma: gamma1,
        sampleScale: context.dropPathScale(rate: dropPathRate, branch: branch))
      return tape.residual(
        attended, mlp(norm2(attended, tape), tape), gamma: gamma2,
        sampleScale: context.dropPathScale(rate: dropPathRate, branch: branch + 1))
    }
  }
}

/// Blocks in a row, with stochastic depth rising linearly from 0 to `dropPathRate`.
public struct TransformerStack {
  let blocks: [TransformerBlock]

  public init(
    _ name: String, _ configuration: BlockConfiguration, depth: Int, dropPathRate: Double,
    in tree: ParameterTree
  ) {
    blocks = (0..<depth).map { index in
      TransformerBlock(
        "\(name).\(index)", configuration, index: index,
        dropPathRate: linearRate(dropPathRate, index, of: depth), in: tree)
    }
  }

  /// - Parameter branch: First stochastic-depth draw of the stack; it uses two a block.
  public func callAsFunction(
    _ x: Variable, _ context: ForwardContext, branch: Int
  ) -> Variable {
    var x = x
    for (index, block) in blocks.enumerated() { x = block(x, context, branch: branch + 2 * index) }
    return x
  }
}

/// Entry `index` of `depth` values spaced evenly from 0 to `rate`; one value is 0.
public func linearRate(_ rate: Double, _ index: Int, of depth: Int) -> Double {
  depth > 1 ? rate * Double(index) / Double(depth - 1) : 0
}
