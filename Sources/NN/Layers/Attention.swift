import TensorCore

/// Multi-head self-attention with one fused projection.
///
/// `qkv.weight` `[3 C, C]`: rows of q, then k, then v, head-major in each. Queries and values have
/// a bias, keys have none. `proj` maps the heads back. With relative positions, the scores get a
/// learned bias from `relative_position_bias_table`, which starts at zero.
public struct SelfAttention {
  let heads: Int
  let width: Int
  private let qkv: Parameter
  private let qBias: Parameter
  private let vBias: Parameter
  private let positionBias: RelativePositionBias?
  private let projection: Linear

  public init(
    _ name: String, width: Int, heads: Int, block: Int, in tree: ParameterTree,
    _ scheme: InitializationScheme, relativePositions: RelativePositionIndex? = nil
  ) {
    self.heads = heads
    self.width = width
    qBias = tree.add("\(name).q_bias", [width], .constant(0))
    vBias = tree.add("\(name).v_bias", [width], .constant(0))
    positionBias = relativePositions.map { index in
      RelativePositionBias(
        table: tree.add(
          "\(name).relative_position_bias_table", [index.tableRows, heads], .constant(0)),
        index: index)
    }
    qkv = tree.add(
      "\(name).qkv.weight", [3 * width, width], scheme.linear(fanIn: width, fanOut: 3 * width))
    projection = Linear(
      "\(name).proj", inputs: width, outputs: width, in: tree, scheme, outputOfBlock: block)
  }

  /// x `[B, T, C]` to `[B, T, C]`.
  public func callAsFunction(_ x: Variable, _ tape: Tape) -> Variable {
    let joint = project(x, tape)
    let heads = tape.attention(
      q: AttentionInput(joint), k: AttentionInput(joint, column: width),
      v: AttentionInput(joint, column: 2 * width), heads: heads, headDim: width / heads,
      bias: positionBias)
    return projection(heads, tape)
  }

  /// Queries, keys and values side by side, `[B, T, 3 C]`.
  func project(_ x: Variable, _ tape: Tape) -> Variable {
    tape.linear(x, weight: qkv, bias: [BiasSlice(qBias), BiasSlice(start: 2 * width, vBias)])
  }
}

/// Multi-head attention of queries over other tokens; three separate projections without bias for
/// the keys.
public struct CrossAttention {
  let heads: Int
  let width: Int
  private let q: Parameter
  private let k: Parameter
  private let v: Parameter
  private let qBias: Parameter
  private let vBias: Parameter
  private let projection: Linear

  public init(
    _ name: String, width: Int, heads: Int, block: Int, in tree: ParameterTree,
    _ scheme: InitializationScheme
  ) {
    self.heads = heads
    self.width = width
    let initializer = scheme.linear(fanIn: width, fanOut: width)
    qBias = tree.add("\(name).q_bias", [width], .constant(0))
    vBias = tree.add("\(name).v_bias", [width], .constant(0))
    q = tree.add("\(name).q.weight", [width, width], initializer)
    k = tree.add("\(name).k.weight", [width, width], initializer)
    v = tree.add("\(name).v.weight", [width, width], initializer)
    projection = Linear(
      "\(name).proj", inputs: width, outputs: width, in: tree, scheme, outputOfBlock: block)
  }

  /// Queries `[B, Tq, C]`, keys and values `[B, Tk, C]`, all normalized already; `[B, Tq, C]`.
  public func callAsFunction(
    queries: Variable, keys: Variable, values: Variable, _ tape: Tape
  ) -> Variable {
    let (q, k) = project(queries: queries, keys: keys, tape)
    let heads = tape.attention(
      q: AttentionInput(q), k: AttentionInput(k),
      v: AttentionInput(tape.linear(values, weight: v, bias: [BiasSlice(vBias)])),
      heads: heads, headDim: width / heads)
    return projection(heads, tape)
  }

  /// What scores are made of.
  func project(queries: Variable, keys: Variable, _ tape: Tape) -> (q: Variable, k: Variable) {
    (tape.linear(queries, weight: q, bias: [BiasSlice(qBias)]), tape.linear(keys, weight: k))
  }
}
