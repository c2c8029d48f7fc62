/// Sizes of a multi-head attention.
public struct AttentionShape: Sendable {
  public let batch: Int
  public let heads: Int
  public let headDim: Int
  public let queries: Int
  public let keys: Int

  public init(batch: Int, heads: Int, headDim: Int, queries: Int, keys: Int) {
    self.batch = batch
    self.heads = heads
    self.headDim = headDim
    self.queries = queries
    self.keys = keys
  }

  /// Saved for the backward pass: one log-sum-exp a query and head.
  public var logSumExpCount: Int { batch * heads * queries }

  /// Parts of the batch whose bias gradients are summed apart, so that there are more tasks than
  /// heads: a function of the batch alone, as the sum must not depend on the number of threads.
  public var biasGroups: Int { min(batch, 4) }

  /// Elements of the partial gradients of a bias, `[biasGroups, heads, queries, keys]`.
  public var biasGradientCount: Int { biasGroups * heads * queries * keys }
}

/// Queries, keys, values or their gradients inside a row-major matrix: head h of token t of sample
/// b starts at `pointer[(b * tokens + t) * rowStride + h * headDim]`. So q, k and v can be thirds
/// of one matrix, and nothing is ever transposed or copied.
public struct AttentionOperand {
  public let pointer: UnsafeMutablePointer<Float>
  public let rowStride: Int

  public init(pointer: UnsafeMutablePointer<Float>, rowStride: Int) {
    self.pointer = pointer
    self.rowStride = rowStride
  }

  @inline(__always)
  func head(_ head: Int, sample: Int, tokens: Int, headDim: Int) -> UnsafeMutablePointer<Float> {
    pointer + sample * tokens * rowStride + head * headDim
  }
}

/// Multi-head attention without mask, one head at a time: `softmax(q k^T / sqrt(headDim) + bias) v`.
///
/// A head's scores live in a scratch block of its thread and are never stored; the backward pass
/// makes them again from the saved log-sum-exp of each query. Heads are independent tasks, so the
/// result does not depend on the number of threads.
///
/// - SeeAlso: Vaswani et al., arXiv:1706.03762; recomputation: Dao et al., arXiv:2205.14135.
public enum AttentionKernel {
  /// - Parameter bias: `[heads, queries, keys]`, the same for all samples; nil: none.
  public static func forward(
    _ pool: ThreadPool, _ shape: AttentionShape, q: AttentionOperand, k: AttentionOperand,
    v: AttentionOperand, bias: UnsafePointer<Float>? = nil, output: AttentionOperand,
    logSumExp: UnsafeMutablePointer<Float>
  ) {
    let stride = shape.queries * (shape.keys + 1)
    let scratch = Tensor(uninitialized: [pool.threadCount, stride])
    pool.run(shape.batch * shape.heads, as: .attention) { task, worker in
      let scores = scratch.pointer + worker * stride
      let head = Head(shape, task)
      head.scores(q: q, k: k, bias: bias, into: scores)
      let lse = logSumExp + task * shape.queries
      let sums = scratch.pointer + worker * stride + shape.queries * shape.keys
      for query in 0..<shape.queries {
        let row = scores + query * shape.keys
        let largest = maximum(row, count: shape.keys)
        sums[query] = exponentiate(row, minus: largest, count: shape.keys)
        lse[query] = largest + logarithm(sums[query])
      }
      let o = head.querySide(output)
      BLAS.multiply(
        m: shape.queries, n: shape.headDim, k: shape.keys, scores, lda: shape.keys,
        head.keySide(v), ldb: v.rowStride, beta: 0, o, ldc: output.rowStride)
      // The softmax's division, on the smaller of the two matrices.
      for query in 0..<shape.queries {
        let row = o + query * output.rowStride
        let factor = 1 / sums[query]
        VectorMath.map(shape.headDim, row, row) { $0 * factor }
      }
    }
  }

  /// The gradient of a bias, with what it was.
  public struct BiasGradient {
    public let bias: UnsafePointer<Float>
    /// Written: `[biasGroups, heads, queries, keys]`, one sum for each part of the batch.
    public let partials: UnsafeMutablePointer<Float>

    public init(bias: UnsafePointer<Float>, partials: UnsafeMutablePointer<Float>) {
      self.bias = bias
      self.partials = partials
    }
  }

  /// Writes (does not add) dQ, dK and dV.
  ///
  /// With `P` the softmax and `delta_i = sum_d dO_id O_id`: `dV = P^T dO`,
  /// `dS = P (dO V^T - delta) / sqrt(headDim)`, `dQ = dS K`, `dK = dS^T Q`; of a bias
  /// `P (dO V^T - delta)`, summed over samples.
  public static func backward(
    _ pool: ThreadPool, _ shape: AttentionShape, q: AttentionOperand, k: AttentionOperand,
    v: AttentionOperand, bias: BiasGradient? = nil, output: AttentionOperand,
    logSumExp: UnsafePointer<Float>, dOutput: AttentionOperand, dQ: AttentionOperand,
    dK: AttentionOperand, dV: AttentionOperand
  ) {
    let pass = Backward(
      shape: shape, q: q, k: k, v: v, bias: bias, output: output, logSumExp: logSumExp,
      dOutput: dOutput, dQ: dQ, dK: dK, dV: dV)
    let block = shape.queries * shape.keys
    let scratch = Tensor(uninitialized: [pool.threadCount, 2 * block])
    // Without a bias every sample is a task of its own.
    let groups = bias == nil ? shape.batch : shape.biasGroups
    pool.run(groups * shape.heads, as: .attention) { task, worker in
      let (group, head) = (task / shape.heads, task % shape.heads)
      let p = scratch.pointer + worker * 2 * block
      let partial = bias.map { $0.partials + task * block }
      partial?.update(repeating: 0, count: block)
      for sample in group * shape.batch / groups..<(group + 1) * shape.batch / groups {
        pass.run(
          Head(shape, sample * shape.heads + head), p: p, dS: p + block, dBias: partial)
      }
    }
  }

  /// The operands of one backward pass.
  private struct Backward {
    let shape: AttentionShape
    let q: AttentionOperand
    let k: AttentionOperand
    let v: AttentionOperand
    let bias: BiasGradient?
    let output: AttentionOperand
    let logSumExp: UnsafePointer<Float>
    let dOutput: AttentionOperand
    let dQ: AttentionOperand
    let dK: AttentionOperand
    let dV: AttentionOperand

    /// - Parameters:
    ///   - p: Scratch of `[queries, keys]`. - dS: As much.
    ///   - dBias: `[queries, keys]`, added to.
    func run(
      _ head: Head, p: UnsafeMutablePointer<Float>, dS: UnsafeMutablePointer<Float>,
      dBias: UnsafeMutablePointer<Float>?
    ) {
      let (t, keys, dim) = (shape.queries, shape.keys, shape.headDim)
      head.scores(q: q, k: k, bias: bias?.bias, into: p)
      let lse = logSumExp + (head.sample * shape.heads + head.head) * t
      for query in 0..<t { exponentiate(p + query * keys, minus: lse[query], count: keys) }
      let dO = head.querySide(dOutput)
      BLAS.multiply(
        transposeA: true, m: keys, n: dim, k: t, p, lda: keys, dO, ldb: dOutput.rowStride,
        beta: 0, head.keySide(dV), ldc: dV.rowStride)
      BLAS.multiply(
        transposeB: true, m: t, n: keys, k: dim, dO, lda: dOutput.rowStride, head.keySide(v),
        ldb: v.rowStride, beta: 0, dS, ldc: keys)
      let o = head.querySide(output)
      for query in 0..<t {
        let delta = dot(dO + query * dOutput.rowStride, o + query * output.rowStride, count: dim)
        let (pRow, row) = (p + query * keys, dS + query * keys)
        if let dBias {
          scoreGradient(
            pRow, row, delta: delta, scale: head.scale, dBias: dBias + query * keys, count: keys)
        } else {
          scoreGradient(pRow, row, delta: delta, scale: head.scale, count: keys)
        }
      }
      BLAS.multiply(
        m: t, n: dim, k: keys, dS, lda: keys, head.keySide(k), ldb: k.rowStride, beta: 0,
        head.querySide(dQ), ldc: dQ.rowStride)
      BLAS.multiply(
        transposeA: true, m: keys, n: dim, k: t, dS, lda: keys, head.querySide(q),
        ldb: q.rowStride, beta: 0, head.keySide(dK), ldc: dK.rowStride)
    }
  }

  /// One (sample, head) pair.
  private struct Head {
    let shape: AttentionShape
    let sample: Int
    let head: Int

    init(_ shape: AttentionShape, _ task: Int) {
      self.shape = shape
      sample = task / shape.heads
      head = task % shape.heads
    }

    var scale: Float { 1 / Float(shape.headDim).squareRoot() }

    func querySide(_ operand: AttentionOperand) -> UnsafeMutablePointer<Float> {
      operand.head(head, sample: sample, tokens: shape.queries, headDim: shape.headDim)
    }

    func keySide(_ operand: AttentionOperand) -> UnsafeMutablePointer<Float> {
      operand.head(head, sample: sample, tokens: shape.keys, headDim: shape.headDim)
    }

    func scores(
      q: AttentionOperand, k: AttentionOperand, bias: UnsafePointer<Float>?,
      into scores: UnsafeMutablePointer<Float>
    ) {
      let block = shape.queries * shape.keys
      if let bias { scores.update(from: bias + head * block, count: block) }
      BLAS.multiply(
        transposeB: true, m: shape.queries, n: shape.keys, k: shape.headDim, alpha: scale,
        querySide(q), lda: q.rowStride, keySide(k), ldb: k.rowStride, beta: bias == nil ? 0 : 1,
        scores, ldc: shape.keys)
    }
  }

  /// `row = dS`: `p (dP - delta) scale`, written to `dP`.
  @inline(__always)
  private static func scoreGradient(
    _ p: UnsafePointer<Float>, _ dP: UnsafeMutablePointer<Float>, delta: Float, scale: Float,
    count: Int
  ) {
    var index = 0
    while index + laneCount <= count {
      dP.setLanes(index, p.lanes(index) * (dP.lanes(index) - delta) * scale)
      index += laneCount
    }
    for rest in index..<count { dP[rest] = p[rest] * (dP[rest] - delta) * scale }
  }

  /// As above; before the scale, it is also added to `dBias`.
  @inline(__always)
  private static func scoreGradient(
    _ p: UnsafePointer<Float>, _ dP: UnsafeMutablePointer<Float>, delta: Float, scale: Float,
    dBias: UnsafeMutablePointer<Float>, count: Int
  ) {
    var index = 0
    while index + laneCount <= count {
      let value = p.lanes(index) * (dP.lanes(index) - delta)
      dBias.setLanes(index, dBias.lanes(index) + value)
      dP.setLanes(index, value * scale)
      index += laneCount
    }
    for rest in index..<count {
      let value = p[rest] * (dP[rest] - delta)
      dBias[rest] += value
      dP[rest] = value * scale
    }
  }

  /// `forward` for one sample and head by the definition, in Double: q `[T, d]`, k and v `[S, d]`,
  /// bias `[T, S]` or nothing.
  public static func forwardReference(
    q: [Float], k: [Float], v: [Float], bias: [Float] = [], headDim: Int
  ) -> [Float] {
    let (queries, keys) = (q.count / headDim, k.count / headDim)
    var output = [Float](repeating: 0, count: q.count)
    for query in 0..<queries {
      var weights = (0..<keys).map { key in
        (0..<headDim).reduce(0.0) {
          $0 + Double(q[query * headDim + $1]) * Double(k[key * headDim + $1])
        } / Double(headDim).squareRoot()
          + (bias.isEmpty ? 0 : Double(bias[query * keys + key]))
      }
      let largest = weights.max() ?? 0
      weights = weights.map { CLibrary.exp($0 - largest) }
      let sum = weights.reduce(0, +)
      for dimension in 0..<headDim {
        output[query * headDim + dimension] = Float(
          (0..<keys).reduce(0.0) {
            $0 + weights[$1] / sum * Double(v[$1 * headDim + dimension])
          })
      }
    }
    return output
  }
}
