import Glibc
public import TensorCore

extension AttentionInput {
  /// The softmax row of one query of every image and head: `softmax(q k^T / sqrt(headDim))`, without
  /// bias of scores.
  ///
  /// Plain loops in Float, the exponentials in Double: for looking, not for training.
  ///
  /// - Returns: `[B, heads, Tk]`.
  fileprivate func probabilities(
    ofQuery query: Int, over keys: AttentionInput, heads: Int, headDim: Int
  ) -> Tensor {
    let (batch, tokens) = (keys.variable.shape[0], keys.variable.shape[1])
    let (own, other) = (operand, keys.operand)
    let output = Tensor(uninitialized: [batch, heads, tokens])
    withExtendedLifetime((variable, keys.variable)) {
      for row in 0..<batch * heads {
        let (image, column) = (row / heads, row % heads * headDim)
        let q = own.pointer + (image * variable.shape[1] + query) * own.rowStride + column
        let scores = (0..<tokens).map { token in
          let k = other.pointer + (image * tokens + token) * other.rowStride + column
          let product = (0..<headDim).reduce(Float(0)) { $0 + q[$1] * k[$1] }
          return Double(product) / Double(headDim).squareRoot()
        }
        let largest = scores.max() ?? 0
        let exponentials = scores.map { exp($0 - largest) }
        let sum = exponentials.reduce(0, +)
        for token in 0..<tokens {
          output.pointer[row * tokens + token] = Float(exponentials[token] / sum)
        }
      }
    }
    return output
  }
}

extension SelfAttention {
  /// What a token attends to, `[B, heads, T]`.
  ///
  /// - Parameters:
  ///   - query: Token whose row it is.
  ///   - x: `[B, T, C]`, normalized already.
  func probabilities(ofQuery query: Int, _ x: Variable, _ tape: Tape) -> Tensor {
    let joint = project(x, tape)
    return AttentionInput(joint).probabilities(
      ofQuery: query, over: AttentionInput(joint, column: width), heads: heads,
      headDim: width / heads)
  }
}

extension CrossAttention {
  /// What the first query attends to, `[B, heads, Tk]`.
  ///
  /// - Parameters:
  ///   - queries: `[B, Tq, C]`, normalized already. - keys: `[B, Tk, C]`, normalized already.
  public func probabilities(queries: Variable, keys: Variable, _ tape: Tape) -> Tensor {
    let (q, k) = project(queries: queries, keys: keys, tape)
    return AttentionInput(q).probabilities(
      ofQuery: 0, over: AttentionInput(k), heads: heads, headDim: width / heads)
  }
}

extension TransformerStack {
  /// Attention of one query in the last block, `[B, heads, T]`; the blocks before it are run.
  ///
  /// - Parameters:
  ///   - x: Input of the stack, `[B, T, C]`.
  ///   - query: Token whose softmax row is wanted.
  /// - Precondition: The stack has a block.
  public func lastAttention(
    ofQuery query: Int, _ x: Variable, _ context: ForwardContext, branch: Int
  ) -> Tensor {
    var x = x
    for (index, block) in blocks.dropLast().enumerated() {
      x = block(x, context, branch: branch + 2 * index)
    }
    let last = blocks[blocks.count - 1]
    return last.attention.probabilities(ofQuery: query, last.norm1(x, context.tape), context.tape)
  }
}
