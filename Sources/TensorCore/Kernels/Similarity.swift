/// Nearest rows by cosine.
public enum SimilarityKernel {
  /// A row that is near, and how near.
  public struct Neighbour: Sendable, Equatable {
    public let index: Int
    /// In [-1, 1].
    public let similarity: Float
  }

  /// Divides every row by its L2 norm; a row of zeros stays.
  ///
  /// - Parameter centre: Subtracted first, if given.
  /// - Precision: Norms in Double.
  public static func normalizeRows(
    _ pool: ThreadPool, _ x: UnsafeMutablePointer<Float>, centre: UnsafePointer<Float>? = nil,
    rows: Int, columns: Int
  ) {
    pool.runSlabs(of: rows, as: .norms) { slab, _ in
      for row in slab {
        let line = x + row * columns
        if let centre { for column in 0..<columns { line[column] -= centre[column] } }
        var sum = 0.0
        for column in 0..<columns { sum += Double(line[column]) * Double(line[column]) }
        guard sum > 0 else { continue }
        let factor = Float(1 / sum.squareRoot())
        for column in 0..<columns { line[column] *= factor }
      }
    }
  }

  /// `1 / |row - centre|` of every row; 0 for a row that is the centre.
  public static func inverseNorms(
    _ pool: ThreadPool, _ x: UnsafePointer<Float>, centre: UnsafePointer<Float>? = nil, rows: Int,
    columns: Int
  ) -> Tensor {
    let norms = Tensor(uninitialized: [max(rows, 1)])
    pool.runSlabs(of: rows, as: .norms) { slab, _ in
      for row in slab {
        var sum = 0.0
        for column in 0..<columns {
          let value = Double(x[row * columns + column]) - Double(centre?[column] ?? 0)
          sum += value * value
        }
        norms.pointer[row] = sum > 0 ? Float(1 / sum.squareRoot()) : 0
      }
    }
    return norms
  }

  /// The `count` rows of `bank` that are nearest to each of a few queries, nearest first; of equal
  /// ones the first. The similarity of query q and row b is `(q b - offset_q) factor_b`.
  ///
  /// - Parameters:
  ///   - queries: `[queryCount, columns]`. - offsets: `[queryCount]`.
  ///   - bank: `[bankRows, columns]`. - factors: `[bankRows]`.
  /// - Precision: Float. The bank is cut into fixed blocks, so that the result does not depend on
  ///   the number of threads.
  public static func nearest(
    _ pool: ThreadPool, queries: UnsafePointer<Float>, offsets: UnsafePointer<Float>,
    queryCount: Int, bank: UnsafePointer<Float>, factors: UnsafePointer<Float>, bankRows: Int,
    columns: Int, count: Int
  ) -> [[Neighbour]] {
    let blocks = (bankRows + blockRows - 1) / blockRows
    let products = Tensor(uninitialized: [pool.threadCount, queryCount * blockRows])
    let lists = (0..<blocks).map { _ in NeighbourLists() }
    pool.run(blocks, as: .products) { block, worker in
      let first = block * blockRows
      let rows = min(blockRows, bankRows - first)
      let place = products.pointer + worker * products.columns
      BLAS.multiply(
        transposeB: true, m: queryCount, n: rows, k: columns, queries, lda: columns,
        bank + first * columns, ldb: columns, beta: 0, place, ldc: rows)
      lists[block].values = (0..<queryCount).map { query in
        let row = place + query * rows
        for index in 0..<rows {
          row[index] = (row[index] - offsets[query]) * factors[first + index]
        }
        return largest(of: row, rows, first: first, count: count)
      }
    }
    return (0..<queryCount).map { query in
      let all = lists.flatMap { $0.values[query] }
      return Array(all.sorted(by: isNearer).prefix(count))
    }
  }

  /// Rows of the bank that a task compares.
  private static let blockRows = 4096

  private final class NeighbourLists: @unchecked Sendable {
    // Sendable: one task writes it, and it is read after all have ended.
    var values: [[Neighbour]] = []
  }

  private static func isNearer(_ left: Neighbour, _ right: Neighbour) -> Bool {
    left.similarity == right.similarity
      ? left.index < right.index : left.similarity > right.similarity
  }

  /// Kept sorted: far most values are below the smallest of them.
  private static func largest(
    of row: UnsafePointer<Float>, _ rows: Int, first: Int, count: Int
  ) -> [Neighbour] {
    var kept: [Neighbour] = []
    for index in 0..<rows {
      let value = row[index]
      if kept.count == count, let last = kept.last, value <= last.similarity { continue }
      let place = kept.partitioningIndex { $0.similarity < value }
      kept.insert(Neighbour(index: first + index, similarity: value), at: place)
      if kept.count > count { kept.removeLast() }
    }
    return kept
  }
}
