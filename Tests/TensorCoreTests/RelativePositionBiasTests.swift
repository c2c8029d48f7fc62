import Glibc
import TestSupport
import Testing

@testable import TensorCore

@Suite struct RelativePositionBiasTests {
  /// BEiT's index of a grid of 2 rows and 3 columns; a row for each query.
  @Test func theIndexIsThePublishedOne() {
    let expected: [Int32] = [
      17, 15, 15, 15, 15, 15, 15, 16, 7, 6, 5, 2, 1, 0, 16, 8, 7, 6, 3, 2, 1, 16, 9, 8, 7, 4, 3,
      2, 16, 12, 11, 10, 7, 6, 5, 16, 13, 12, 11, 8, 7, 6, 16, 14, 13, 12, 9, 8, 7,
    ]
    #expect(RelativePositionBiasKernel.index(rows: 2, columns: 3) == expected)
    let large = RelativePositionBiasKernel.index(rows: 14, columns: 14)
    #expect(RelativePositionBiasKernel.tableRows(rows: 14, columns: 14) == 732)
    let places = [
      (0, 1, 729), (1, 0, 730), (0, 0, 731), (1, 1, 364), (1, 2, 363), (2, 1, 365), (1, 15, 337),
      (15, 1, 391), (1, 196, 0), (196, 1, 728),
    ]
    for (query, key, row) in places { #expect(large[query * 197 + key] == Int32(row)) }
  }

  @Test(arguments: [(1, 1), (2, 3), (3, 2)], [1, 3])
  func gatherAndScatterAgreeWithTheDefinition(grid: (Int, Int), heads: Int) {
    let index = RelativePositionBiasKernel.index(rows: grid.0, columns: grid.1)
    let entries = RelativePositionBiasKernel.tableRows(rows: grid.0, columns: grid.1)
    let (count, groups) = (index.count, 3)
    var values = TestValues(2)
    let table = values.floats(entries * heads)
    let partials = values.floats(groups * heads * count)
    let old = values.floats(entries * heads)
    for beta: Float in [0, 1] {
      var sums = old.map { beta == 0 ? 0 : Double($0) }
      for (place, value) in partials.enumerated() {
        let (head, entry) = (place / count % heads, Int(index[place % count]))
        sums[entry * heads + head] += Double(value)
      }
      let results = withEveryPool { pool in
        var bias = [Float](repeating: .nan, count: heads * count)
        var dTable = beta == 0 ? old.map { _ in .nan } : old
        RelativePositionBiasKernel.gather(
          pool, table: table, index: index, count: count, heads: heads, bias: &bias)
        RelativePositionBiasKernel.scatter(
          pool, partials: partials, groups: groups, index: index, count: count, heads: heads,
          entries: entries, dTable: &dTable, beta: beta)
        return (bias, dTable)
      }
      let bias = (0..<heads * count).map { table[Int(index[$0 % count]) * heads + $0 / count] }
      #expect(results[0].0 == bias)
      // Sums of up to 100 values below 1.
      #expect(largestDifference(results[0].1, sums.map { Float($0) }) < 1e-5)
      for other in results {
        #expect(sameBits(other.0, results[0].0) && sameBits(other.1, results[0].1))
      }
    }
  }
}

@Suite struct AttentionBiasTests {
  /// Dense operands of all samples, `[B, tokens, heads * headDim]`.
  private struct Case {
    let shape: AttentionShape
    let q, k, v, dOutput, bias: [Float]

    var width: Int { shape.heads * shape.headDim }
    var block: Int { shape.queries * shape.keys }

    init(_ shape: AttentionShape, biasSize: Float = 2) {
      self.shape = shape
      let width = shape.heads * shape.headDim
      var values = TestValues(9)
      func operand(_ tokens: Int) -> [Float] {
        values.floats(shape.batch * tokens * width, in: -2...2)
      }
      (q, k, v) = (operand(shape.queries), operand(shape.keys), operand(shape.keys))
      dOutput = operand(shape.queries)
      bias = values.floats(shape.heads * shape.queries * shape.keys).map { $0 * biasSize }
    }

    /// Output, dQ, dK, dV and dBias (empty without a bias).
    func run(_ pool: ThreadPool, hasBias: Bool = true) -> [[Float]] {
      let tensors = [q, k, v, dOutput].map { Tensor($0, shape: [$0.count]) }
      let outputs = [q, q, k, v].map { Tensor(repeating: .nan, shape: [$0.count]) }
      let operands = (tensors + outputs).map {
        AttentionOperand(pointer: $0.pointer, rowStride: width)
      }
      let lse = Tensor(repeating: .nan, shape: [shape.logSumExpCount])
      let values = Tensor(bias, shape: [bias.count])
      let partials = Tensor(repeating: .nan, shape: [shape.biasGradientCount])
      AttentionKernel.forward(
        pool, shape, q: operands[0], k: operands[1], v: operands[2],
        bias: hasBias ? UnsafePointer(values.pointer) : nil, output: operands[4],
        logSumExp: lse.pointer)
      AttentionKernel.backward(
        pool, shape, q: operands[0], k: operands[1], v: operands[2],
        bias: hasBias
          ? AttentionKernel.BiasGradient(bias: values.pointer, partials: partials.pointer) : nil,
        output: operands[4], logSumExp: lse.pointer, dOutput: operands[3], dQ: operands[5],
        dK: operands[6], dV: operands[7])
      let all = withExtendedLifetime((tensors, values)) { outputs.map(\.values) }
      guard hasBias else { return all + [[]] }
      let sums = partials.values
      let dBias = (0..<shape.heads * block).map { place in
        (0..<shape.biasGroups).reduce(Float(0)) { $0 + sums[$1 * shape.heads * block + place] }
      }
      return all + [dBias]
    }

    func head(_ values: [Float], _ sample: Int, _ head: Int) -> [Float] {
      let tokens = values.count / shape.batch / width
      return (0..<tokens * shape.headDim).map {
        let row = sample * tokens + $0 / shape.headDim
        return values[row * width + head * shape.headDim + $0 % shape.headDim]
      }
    }

    /// The same by the definition, in Double.
    func reference() -> [[Float]] {
      var results = [q, q, k, v, bias].map { [Double](repeating: 0, count: $0.count) }
      for sample in 0..<shape.batch {
        for head in 0..<shape.heads { add(sample, head, to: &results) }
      }
      return results.map { $0.map { Float($0) } }
    }

    private func add(_ sample: Int, _ head: Int, to results: inout [[Double]]) {
      let (dim, keys) = (shape.headDim, shape.keys)
      func place(_ token: Int, _ tokens: Int, _ d: Int) -> Int {
        (sample * tokens + token) * width + head * dim + d
      }
      let scale = 1 / Double(dim).squareRoot()
      for query in 0..<shape.queries {
        func dot(_ a: [Float], _ b: [Float], _ key: Int) -> Double {
          (0..<dim).reduce(0.0) {
            $0 + Double(a[place(query, shape.queries, $1)]) * Double(b[place(key, keys, $1)])
          }
        }
        let start = head * block + query * keys
        let weights = (0..<keys).map { exp(scale * dot(q, k, $0) + Double(bias[start + $0])) }
        let p = weights.map { $0 / weights.reduce(0, +) }
        let dP = (0..<keys).map { dot(dOutput, v, $0) }
        let mean = zip(p, dP).reduce(0) { $0 + $1.0 * $1.1 }
        for key in 0..<keys {
          let dScore = p[key] * (dP[key] - mean)
          results[4][start + key] += dScore
          for d in 0..<dim {
            let (i, j) = (place(query, shape.queries, d), place(key, keys, d))
            results[0][i] += p[key] * Double(v[j])
            results[1][i] += dScore * scale * Double(k[j])
            results[2][j] += dScore * scale * Double(q[i])
            results[3][j] += p[key] * Double(dOutput[i])
          }
        }
      }
    }
  }

  @Test(arguments: [1, 3, 8], [(1, 1, 1), (2, 5, 5), (3, 3, 7), (5, 17, 9), (9, 4, 4)])
  func forwardAndBackwardAgreeWithTheDefinition(headDim: Int, size: (Int, Int, Int)) {
    let test = Case(
      AttentionShape(
        batch: size.0, heads: 3, headDim: headDim, queries: size.1, keys: size.2))
    let expected = test.reference()
    let results = withEveryPool { test.run($0) }
    for (result, expected) in zip(results[0], expected) {
      #expect(largestDifference(result, expected) < AttentionKernelTests.tolerance)
    }
    for other in results {
      #expect(zip(other, results[0]).allSatisfy { sameBits($0, $1) })
    }
    let (q, k, v) = (test.head(test.q, 0, 1), test.head(test.k, 0, 1), test.head(test.v, 0, 1))
    let output = AttentionKernel.forwardReference(
      q: q, k: k, v: v, bias: Array(test.bias[test.block..<2 * test.block]), headDim: headDim)
    #expect(
      largestDifference(test.head(results[0][0], 0, 1), output)
        < AttentionKernelTests.tolerance)
  }

  /// Fine-tuning starts with tables of zeros: all results are those without a bias, to the bit.
  @Test(arguments: [3, 8, 64], [(2, 5), (3, 17), (1, 50)])
  func aBiasOfZerosChangesNothing(headDim: Int, size: (Int, Int)) {
    let shape = AttentionShape(
      batch: size.0, heads: 2, headDim: headDim, queries: size.1, keys: size.1)
    let test = Case(shape, biasSize: 0)
    let pool = ThreadPool(threadCount: 2)
    let (with, without) = (test.run(pool), test.run(pool, hasBias: false))
    for (a, b) in zip(with, without).prefix(4) { #expect(a == b) }
    #expect(with[4].contains { $0 != 0 })
  }
}
