import Glibc
import TestSupport
import Testing

@testable import TensorCore

/// Heads of tokens inside a wider matrix. What lies between them must be neither read nor written.
private struct Heads {
  static let gap: Float = .nan

  let matrix: Tensor
  let column: Int

  /// `[rows, stride]` of gaps.
  static func matrix(rows: Int, stride: Int) -> Tensor {
    Tensor(repeating: gap, shape: [rows, stride])
  }

  var operand: AttentionOperand {
    AttentionOperand(pointer: matrix.pointer + column, rowStride: matrix.columns)
  }

  /// The values of all rows, `width` columns each.
  func values(width: Int) -> [Float] {
    (0..<matrix.rows * width).map {
      operand.pointer[$0 / width * matrix.columns + $0 % width]
    }
  }

  func set(_ values: [Float], width: Int) {
    for (index, value) in values.enumerated() {
      operand.pointer[index / width * matrix.columns + index % width] = value
    }
  }
}

/// Attention on matrices of one of two layouts: thirds of one matrix, or each in its own with
/// extra columns around.
private struct AttentionCase {
  let shape: AttentionShape
  let inputs: [Heads]
  let gradients: [Heads]
  let output: Heads
  let dOutput: Heads
  let logSumExp: Tensor

  var width: Int { shape.heads * shape.headDim }

  init(_ shape: AttentionShape, asThirds: Bool, seed: UInt64) {
    var values = TestValues(seed)
    self.shape = shape
    let width = shape.heads * shape.headDim
    let tokens = [shape.queries, shape.keys, shape.keys].map { $0 * shape.batch }
    func operands() -> [Heads] {
      if asThirds {
        let matrix = Heads.matrix(rows: tokens[0], stride: 3 * width)
        return (0..<3).map { Heads(matrix: matrix, column: $0 * width) }
      }
      return (0..<3).map {
        Heads(matrix: Heads.matrix(rows: tokens[$0], stride: width + 5), column: 2)
      }
    }
    inputs = operands()
    gradients = operands()
    for (input, rows) in zip(inputs, tokens) {
      input.set(values.floats(rows * width, in: -2...2), width: width)
    }
    output = Heads(matrix: Heads.matrix(rows: tokens[0], stride: width + 1), column: 1)
    dOutput = Heads(matrix: Heads.matrix(rows: tokens[0], stride: width + 3), column: 0)
    dOutput.set(values.floats(tokens[0] * width), width: width)
    logSumExp = Tensor(repeating: .nan, shape: [shape.logSumExpCount])
  }

  func run(_ pool: ThreadPool) {
    AttentionKernel.forward(
      pool, shape, q: inputs[0].operand, k: inputs[1].operand, v: inputs[2].operand,
      output: output.operand, logSumExp: logSumExp.pointer)
    AttentionKernel.backward(
      pool, shape, q: inputs[0].operand, k: inputs[1].operand, v: inputs[2].operand,
      output: output.operand, logSumExp: logSumExp.pointer, dOutput: dOutput.operand,
      dQ: gradients[0].operand, dK: gradients[1].operand, dV: gradients[2].operand)
  }

  /// Output, dQ, dK, dV.
  var results: [[Float]] { ([output] + gradients).map { $0.values(width: width) } }

  /// One head of one sample, `[tokens, headDim]`.
  func head(_ heads: Heads, sample: Int, head: Int) -> [Float] {
    let tokens = heads.matrix.rows / shape.batch
    let values = heads.values(width: width)
    return (0..<tokens * shape.headDim).map {
      let token = sample * tokens + $0 / shape.headDim
      return values[token * width + head * shape.headDim + $0 % shape.headDim]
    }
  }
}

/// Gradients of one head by the chain rule over the whole softmax matrix, in Double.
private func backwardReference(
  q: [Float], k: [Float], v: [Float], dOutput: [Float], headDim: Int
) -> (dQ: [Float], dK: [Float], dV: [Float], logSumExp: [Float]) {
  let (queries, keys) = (q.count / headDim, k.count / headDim)
  let scale = 1 / Double(headDim).squareRoot()
  var dQ = [Double](repeating: 0, count: q.count)
  var (dK, dV) = ([Double](repeating: 0, count: k.count), [Double](repeating: 0, count: k.count))
  var logSumExp: [Float] = []
  func dot(_ a: [Float], _ i: Int, _ b: [Float], _ j: Int) -> Double {
    (0..<headDim).reduce(0.0) {
      $0 + Double(a[i * headDim + $1]) * Double(b[j * headDim + $1])
    }
  }
  for query in 0..<queries {
    let weights = (0..<keys).map { Glibc.exp(scale * dot(q, query, k, $0)) }
    let sum = weights.reduce(0, +)
    logSumExp.append(Float(Glibc.log(sum)))
    let p = weights.map { $0 / sum }
    let dP = (0..<keys).map { dot(dOutput, query, v, $0) }
    let mean = zip(p, dP).reduce(0) { $0 + $1.0 * $1.1 }
    for key in 0..<keys {
      let dS = p[key] * (dP[key] - mean) * scale
      for d in 0..<headDim {
        dV[key * headDim + d] += p[key] * Double(dOutput[query * headDim + d])
        dQ[query * headDim + d] += dS * Double(k[key * headDim + d])
        dK[key * headDim + d] += dS * Double(q[query * headDim + d])
      }
    }
  }
  return (dQ.map { Float($0) }, dK.map { Float($0) }, dV.map { Float($0) }, logSumExp)
}

@Suite struct AttentionKernelTests {
  /// Scores up to about 20 make a softmax good to a few 1e-6; the gradients are sums over 17 of
  /// such times values of 2.
  static let tolerance: Float = 5e-5

  static let sizes = [(1, 1), (1, 7), (5, 5), (3, 7), (9, 17), (17, 9)]

  @Test(arguments: [1, 3, 8, 24], sizes)
  func forwardAndBackwardAgreeWithTheDefinition(headDim: Int, size: (Int, Int)) {
    let shape = AttentionShape(
      batch: 2, heads: 3, headDim: headDim, queries: size.0, keys: size.1)
    for asThirds in size.0 == size.1 ? [false, true] : [false] {
      let cases = threadCounts.map { _ in AttentionCase(shape, asThirds: asThirds, seed: 5) }
      for (test, threadCount) in zip(cases, threadCounts) {
        test.run(ThreadPool(threadCount: threadCount))
      }
      compare(cases[0])
      for other in cases {
        #expect(zip(other.results, cases[0].results).allSatisfy { sameBits($0, $1) })
        #expect(sameBits(other.logSumExp.values, cases[0].logSumExp.values))
      }
    }
  }

  private func compare(_ test: AttentionCase) {
    let (shape, limit) = (test.shape, AttentionKernelTests.tolerance)
    for (sample, head) in (0..<shape.batch).flatMap({ b in (0..<shape.heads).map { (b, $0) } }) {
      func values(_ heads: Heads) -> [Float] { test.head(heads, sample: sample, head: head) }
      let (q, k, v) = (values(test.inputs[0]), values(test.inputs[1]), values(test.inputs[2]))
      let output = AttentionKernel.forwardReference(q: q, k: k, v: v, headDim: shape.headDim)
      #expect(largestDifference(values(test.output), output) < limit)
      let expected = backwardReference(
        q: q, k: k, v: v, dOutput: values(test.dOutput), headDim: shape.headDim)
      let start = (sample * shape.heads + head) * shape.queries
      let logSumExp = Array(test.logSumExp.values[start..<start + shape.queries])
      #expect(largestDifference(logSumExp, expected.logSumExp) < limit)
      #expect(largestDifference(values(test.gradients[0]), expected.dQ) < limit)
      #expect(largestDifference(values(test.gradients[1]), expected.dK) < limit)
      #expect(largestDifference(values(test.gradients[2]), expected.dV) < limit)
    }
  }

  @Test func whatLiesBetweenTheHeadsIsNotTouched() {
    let shape = AttentionShape(batch: 2, heads: 3, headDim: 3, queries: 5, keys: 4)
    let test = AttentionCase(shape, asThirds: false, seed: 6)
    test.run(ThreadPool(threadCount: 2))
    for heads in test.gradients + [test.output] {
      let written = heads.matrix.rows * test.width
      let gaps = heads.matrix.values.count { $0.isNaN }
      #expect(gaps == heads.matrix.count - written)
    }
  }

  /// Scores of +-1e4: without the shift by the largest the exponentials would overflow.
  @Test func largeScoresDoNotOverflow() {
    let shape = AttentionShape(batch: 1, heads: 1, headDim: 1, queries: 2, keys: 3)
    let test = AttentionCase(shape, asThirds: false, seed: 7)
    test.inputs[0].set([100, -100], width: 1)
    test.inputs[1].set([100, 0, -100], width: 1)
    test.inputs[2].set([1, 2, 3], width: 1)
    test.run(ThreadPool(threadCount: 1))
    #expect(test.output.values(width: 1) == [1, 3])
    #expect(test.results.joined().allSatisfy { $0.isFinite })
  }
}
