import Glibc
public import TensorCore

extension SelfAttention {
  /// The softmax row of one query: `softmax(q k^T / sqrt(headDim))`.
  ///
  /// Plain loops in Float, the exponentials in Double: for looking, not for training.
  ///
  /// - Parameters:
  ///   - query: Token whose row it is.
  ///   - x: `[B, T, C]`, normalized already.
  /// - Returns: `[B, heads, T]`.
  func probabilities(ofQuery query: Int, _ x: Variable, _ tape: Tape) -> Tensor {
    let joint = project(x, tape)
    let (batch, tokens, stride) = (joint.shape[0], joint.shape[1], joint.shape[2])
    let headDim = width / heads
    let output = Tensor(uninitialized: [batch, heads, tokens])
    withExtendedLifetime(joint) {
      for row in 0..<batch * heads {
        let (image, head) = (row / heads, row % heads)
        let start = joint.value.pointer + image * tokens * stride + head * headDim
        let q = start + query * stride
        let scores = (0..<tokens).map { token in
          let k = start + token * stride + width
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
