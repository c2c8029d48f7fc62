import TestSupport
import Testing

@testable import TensorCore

@Suite struct BatchNormKernelTests {
  /// Sums in Double; one rounding of each result to Float, whose size is a few units.
  static let tolerance: Float = 2e-6

  @Test(arguments: [2, 3, 17, 65], oddColumns)
  func sumsAndNormalizedValues(rows: Int, columns: Int) {
    var values = TestValues(1)
    let x = values.floats(rows * columns, in: -3...3)
    let (mean, rstd) = (values.floats(columns), values.floats(columns, in: 0.5...2))
    var expected = [Double](repeating: 0, count: 2 * columns)
    for (index, value) in x.enumerated() {
      expected[index % columns] += Double(value)
      expected[columns + index % columns] += Double(value) * Double(value)
    }
    let results = withEveryPool { pool -> (sums: [Double], y: [Float]) in
      var sums = [Double](repeating: .nan, count: 2 * columns)
      var y = [Float](repeating: .nan, count: x.count)
      BatchNormKernel.sums(pool, x: x, rows: rows, columns: columns, into: &sums)
      BatchNormKernel.normalize(
        pool, x: x, mean: mean, rstd: rstd, y: &y, rows: rows, columns: columns)
      return (sums, y)
    }
    let normalized = x.enumerated().map { index, value in
      (value - mean[index % columns]) * rstd[index % columns]
    }
    for result in results {
      #expect(result.sums == expected)
      #expect(largestDifference(result.y, normalized) == 0)
    }
  }

  /// `dX = rstd (dY - mean dY - y mean(dY y))` by the definition, in Double.
  @Test(arguments: [2, 17], [1, 9, 24])
  func backward(rows: Int, columns: Int) {
    var values = TestValues(2)
    let (dY, y) = (values.floats(rows * columns), values.floats(rows * columns, in: -2...2))
    let rstd = values.floats(columns, in: 0.5...2)
    let count = rows + 3
    var expected = [Float]()
    for index in dY.indices {
      let column = index % columns
      let places = (0..<rows).map { $0 * columns + column }
      let sum = places.reduce(0.0) { $0 + Double(dY[$1]) }
      let slope = places.reduce(0.0) { $0 + Double(dY[$1]) * Double(y[$1]) }
      expected.append(
        Float(
          Double(rstd[column])
            * (Double(dY[index]) - sum / Double(count) - Double(y[index]) * slope / Double(count))))
    }
    let results = withEveryPool { pool -> [Float] in
      var sums = [Double](repeating: .nan, count: 2 * columns)
      var dX = [Float](repeating: .nan, count: dY.count)
      BatchNormKernel.gradientSums(pool, dY: dY, y: y, rows: rows, columns: columns, into: &sums)
      BatchNormKernel.backward(
        pool, dY: dY, y: y, rstd: rstd, sums: sums, count: count, dX: &dX, rows: rows,
        columns: columns)
      return dX
    }
    for result in results {
      #expect(largestDifference(result, expected) < Self.tolerance)
      #expect(sameBits(result, results[0]))
    }
  }
}

@Suite struct SimilarityKernelTests {
  /// Against a full sort of cosines in Double. The bank spans several blocks; rows are spread so far
  /// that rounding changes no order.
  @Test(arguments: [false, true])
  func nearestRowsByCosine(isCentred: Bool) {
    let (queries, rows, columns, count) = (5, 9000, 12, 20)
    var values = TestValues(3)
    let bank = values.floats(rows * columns)
    let query = values.floats(queries * columns)
    let centre = isCentred ? values.floats(columns) : [Float](repeating: 0, count: columns)
    func row(_ matrix: [Float], _ index: Int) -> [Double] {
      (0..<columns).map { Double(matrix[index * columns + $0]) - Double(centre[$0]) }
    }
    func cosine(_ a: [Double], _ b: [Double]) -> Double {
      let dot = zip(a, b).reduce(0.0) { $0 + $1.0 * $1.1 }
      let norms = [a, b].map { $0.reduce(0.0) { $0 + $1 * $1 }.squareRoot() }
      return dot / norms[0] / norms[1]
    }
    let results = withEveryPool { pool -> [[SimilarityKernel.Neighbour]] in
      var normalized = query
      SimilarityKernel.normalizeRows(
        pool, &normalized, centre: centre, rows: queries, columns: columns)
      let factors = SimilarityKernel.inverseNorms(
        pool, bank, centre: centre, rows: rows, columns: columns)
      let offsets = (0..<queries).map { index in
        (0..<columns).reduce(Float(0)) { $0 + normalized[index * columns + $1] * centre[$1] }
      }
      return SimilarityKernel.nearest(
        pool, queries: normalized, offsets: offsets, queryCount: queries, bank: bank,
        factors: factors.pointer, bankRows: rows, columns: columns, count: count)
    }
    for index in 0..<queries {
      let all = (0..<rows).map { cosine(row(query, index), row(bank, $0)) }
      let best = all.indices.sorted { all[$0] > all[$1] }.prefix(count)
      for result in results {
        #expect(result[index].map(\.index) == Array(best))
        for neighbour in result[index] {
          #expect(abs(Double(neighbour.similarity) - all[neighbour.index]) < 1e-6)
        }
        #expect(result[index] == results[0][index])
      }
    }
  }

  @Test func equalRowsComeInTheirOrder() {
    let bank: [Float] = [1, 0, 0, 1, 2, 0, 3, 0]
    let pool = ThreadPool(threadCount: 1)
    let factors = SimilarityKernel.inverseNorms(pool, bank, rows: 4, columns: 2)
    let found = SimilarityKernel.nearest(
      pool, queries: [1, 0], offsets: [0], queryCount: 1, bank: bank, factors: factors.pointer,
      bankRows: 4, columns: 2, count: 4)
    #expect(found[0].map(\.index) == [0, 2, 3, 1])
  }

  @Test func aRowOfZerosIsNearToNothing() {
    let pool = ThreadPool(threadCount: 1)
    var row: [Float] = [0, 0]
    SimilarityKernel.normalizeRows(pool, &row, rows: 1, columns: 2)
    #expect(row == [0, 0])
    #expect(SimilarityKernel.inverseNorms(pool, row, rows: 1, columns: 2).values == [0])
  }
}
