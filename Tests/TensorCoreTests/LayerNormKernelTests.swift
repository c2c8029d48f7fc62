import TestSupport
import Testing

@testable import TensorCore

@Suite struct LayerNormKernelTests {
  /// Values of a norm are below 8 here; a row is summed in Float. One column alone gives 0 / sqrt
  /// (epsilon), where the rounding of the mean is what is left.
  static let tolerance: Float = 2e-5
  static let epsilon: Float = 1e-6

  /// A norm of `parts` concatenated token sequences, with or without position rows.
  struct Case {
    let batch: Int
    let tokens: [Int]
    let columns: Int
    let x: [[Float]]
    let weight: [Float]
    let bias: [Float]
    let dY: [Float]
    /// A table of five positions and one of them a row of the result.
    let positions: (table: [Float], rows: [Int32])?

    init(batch: Int, tokens: [Int], columns: Int, offsets: Bool, seed: UInt64 = 1) {
      var values = TestValues(seed)
      (self.batch, self.tokens, self.columns) = (batch, tokens, columns)
      let rows = batch * tokens.reduce(0, +)
      x = tokens.map { values.floats(batch * $0 * columns, in: -3...3) }
      weight = values.floats(columns)
      bias = values.floats(columns)
      dY = values.floats(rows * columns)
      positions =
        offsets ? (values.floats(5 * columns), values.indices(rows, below: 5)) : nil
    }

    var totalTokens: Int { tokens.reduce(0, +) }
    var rows: Int { batch * totalTokens }

    func part(_ index: Int) -> LayerNormKernel.Rows {
      LayerNormKernel.Rows(
        count: batch * tokens[index], perSample: tokens[index], outputPerSample: totalTokens,
        outputStart: tokens[..<index].reduce(0, +))
    }

    /// The concatenated input with its positions, what the definition works on.
    var joined: [Float] {
      var result = [Float](repeating: 0, count: rows * columns)
      for index in tokens.indices {
        let part = part(index)
        for row in 0..<part.count {
          let out = part.outputRow(row)
          for column in 0..<columns {
            let offset = positions.map { $0.table[Int($0.rows[out]) * columns + column] } ?? 0
            result[out * columns + column] = x[index][row * columns + column] + offset
          }
        }
      }
      return result
    }

    func withOffsets<Result>(_ body: (RowOffsets?) -> Result) -> Result {
      guard let positions else { return body(nil) }
      return positions.table.withUnsafeBufferPointer { table in
        positions.rows.withUnsafeBufferPointer { rows in
          body(RowOffsets(table: table.baseAddress!, positions: rows.baseAddress!))
        }
      }
    }

    func forward(_ pool: ThreadPool) -> (y: [Float], mean: [Float], rstd: [Float]) {
      var y = [Float](repeating: .nan, count: rows * columns)
      var mean = [Float](repeating: .nan, count: rows)
      var rstd = mean
      withOffsets { offsets in
        for index in tokens.indices {
          LayerNormKernel.forward(
            pool, x: x[index], rows: part(index), offsets: offsets, weight: weight, bias: bias,
            epsilon: LayerNormKernelTests.epsilon, y: &y, mean: &mean, rstd: &rstd,
            columns: columns)
        }
      }
      return (y, mean, rstd)
    }

    /// Gradients of each part, then of weight and bias, added to `old`.
    func backward(_ pool: ThreadPool, old: Float?) -> [[Float]] {
      let (_, mean, rstd) = forward(pool)
      var dX = x.map { $0.map { _ in old ?? .nan } }
      var dWeight = [Float](repeating: old ?? 0, count: columns)
      var dBias = dWeight
      withOffsets { offsets in
        for index in tokens.indices {
          LayerNormKernel.backward(
            pool, x: x[index], rows: part(index), offsets: offsets, weight: weight, mean: mean,
            rstd: rstd, dY: dY, dX: &dX[index], accumulate: old != nil, dWeight: &dWeight,
            dBias: &dBias, columns: columns)
        }
      }
      return dX + [dWeight, dBias]
    }

    /// `backward` from the definition, in Double.
    func backwardReference() -> [[Float]] {
      let joined = joined.map(Double.init)
      var dX = x.map { $0.map { _ in Float(0) } }
      var dWeight = [Double](repeating: 0, count: columns)
      var dBias = dWeight
      for index in tokens.indices {
        let part = part(index)
        for row in 0..<part.count {
          let start = part.outputRow(row) * columns
          let line = joined[start..<start + columns]
          let mean = line.reduce(0, +) / Double(columns)
          let variance = line.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
          let rstd = 1 / (variance + Double(LayerNormKernelTests.epsilon)).squareRoot()
          let xhat = line.map { ($0 - mean) * rstd }
          let d = dY[start..<start + columns].map(Double.init)
          let g = zip(d, weight).map { $0 * Double($1) }
          let meanG = g.reduce(0, +) / Double(columns)
          let meanGX = zip(g, xhat).reduce(0) { $0 + $1.0 * $1.1 } / Double(columns)
          for column in 0..<columns {
            dX[index][row * columns + column] = Float(
              rstd * (g[column] - meanG - xhat[column] * meanGX))
            dWeight[column] += d[column] * xhat[column]
            dBias[column] += d[column]
          }
        }
      }
      return dX + [dWeight.map { Float($0) }, dBias.map { Float($0) }]
    }
  }

  static let layouts: [(batch: Int, tokens: [Int])] =
    oddRows.map { (batch: 1, tokens: [$0]) } + [
      (2, [3]), (3, [2, 5]), (5, [17, 9]), (2, [1, 70]),
    ]

  @Test(arguments: layouts, oddColumns)
  func forwardAgreesWithItsReference(layout: (batch: Int, tokens: [Int]), columns: Int) {
    for offsets in [false, true] {
      let test = Case(
        batch: layout.batch, tokens: layout.tokens, columns: columns, offsets: offsets)
      let expected = LayerNormKernel.forwardReference(
        x: test.joined, weight: test.weight, bias: test.bias,
        epsilon: Double(LayerNormKernelTests.epsilon), columns: columns)
      let results = withEveryPool { test.forward($0) }
      #expect(largestDifference(results[0].y, expected) < LayerNormKernelTests.tolerance)
      for other in results {
        #expect(sameBits(other.y, results[0].y))
        #expect(sameBits(other.mean, results[0].mean))
        #expect(sameBits(other.rstd, results[0].rstd))
      }
    }
  }

  /// One column alone has a gradient of exactly 0, which Float misses by the rounding of g times
  /// rstd = 1000: it has its own test.
  @Test(arguments: layouts, oddColumns.filter { $0 > 1 })
  func backwardAgreesWithTheDefinition(layout: (batch: Int, tokens: [Int]), columns: Int) {
    for offsets in [false, true] {
      let test = Case(
        batch: layout.batch, tokens: layout.tokens, columns: columns, offsets: offsets)
      let expected = test.backwardReference()
      for old: Float? in [nil, 0.5] {
        let results = withEveryPool { test.backward($0, old: old) }
        for (index, values) in expected.enumerated() {
          // Rows of few columns may have a large rstd, which magnifies the rounding.
          let scale = max(1, values.map(abs).max() ?? 0)
          let sum = values.map { $0 + (old ?? 0) }
          #expect(
            largestDifference(results[0][index], sum) < LayerNormKernelTests.tolerance * scale,
            "tensor \(index) of \(layout), \(columns) columns")
          #expect(results.allSatisfy { sameBits($0[index], results[0][index]) })
        }
      }
    }
  }

  @Test func oneColumnHasNoGradient() {
    let test = Case(batch: 3, tokens: [2], columns: 1, offsets: false)
    let gradients = test.backward(ThreadPool(threadCount: 2), old: nil)
    #expect(largestDifference(gradients[0], [Float](repeating: 0, count: 6)) < 1e-3)
    #expect(gradients[1] == [0])
    #expect(abs(gradients[2][0] - test.dY.reduce(0, +)) < LayerNormKernelTests.tolerance)
  }

  @Test func noInputGradientIsMadeWhereNobodyWantsIt() {
    let test = Case(batch: 2, tokens: [3], columns: 9, offsets: false)
    let (_, mean, rstd) = test.forward(ThreadPool(threadCount: 1))
    var (dWeight, dBias) = ([Float](repeating: 0, count: 9), [Float](repeating: 0, count: 9))
    LayerNormKernel.backward(
      ThreadPool(threadCount: 1), x: test.x[0], rows: test.part(0), offsets: nil,
      weight: test.weight, mean: mean, rstd: rstd, dY: test.dY, dX: nil, accumulate: false,
      dWeight: &dWeight, dBias: &dBias, columns: 9)
    let all = test.backward(ThreadPool(threadCount: 1), old: nil)
    #expect(sameBits(dWeight, all[1]))
    #expect(sameBits(dBias, all[2]))
  }
}
