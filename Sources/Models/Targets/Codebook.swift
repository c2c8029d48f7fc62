public import TensorCore

/// Vectors by which others are named: the code of a vector is the nearest one.
///
/// The nearest code c minimizes `|c|^2 / 2 - c . x`; of equal ones the first.
public struct Codebook: Sendable {
  /// `[codes, width]`.
  public let vectors: Tensor
  private let halfSquares: [Float]

  /// Rows of one product with the codebook: fixed, so that codes do not depend on the batch.
  private static let slab = 256

  public init(_ vectors: Tensor) {
    self.vectors = vectors
    let width = vectors.columns
    halfSquares = (0..<vectors.rows).map { code in
      let row = UnsafeBufferPointer(start: vectors.pointer + code * width, count: width)
      return row.reduce(0) { $0 + $1 * $1 } / 2
    }
  }

  public var count: Int { vectors.rows }
  public var width: Int { vectors.columns }

  /// The nearest code of every row of `others`.
  public func nearest(to others: Tensor, pool: ThreadPool) -> [Int32] {
    let rows = others.rows
    let slabs = (rows + Codebook.slab - 1) / Codebook.slab
    let products = Tensor(uninitialized: [pool.threadCount, Codebook.slab, count])
    // A code is stored as a float: exact far beyond any vocabulary.
    let nearest = Tensor(uninitialized: [max(rows, 1)])
    pool.run(slabs, as: .products) { slab, worker in
      let start = slab * Codebook.slab
      let part = min(Codebook.slab, rows - start)
      let block = products.pointer + worker * Codebook.slab * count
      BLAS.multiply(
        transposeB: true, m: part, n: count, k: width, others.pointer + start * width, lda: width,
        vectors.pointer, ldb: width, beta: 0, block, ldc: count)
      for row in 0..<part { nearest.pointer[start + row] = Float(best(block + row * count)) }
    }
    return (0..<rows).map { Int32(nearest.pointer[$0]) }
  }

  private func best(_ products: UnsafePointer<Float>) -> Int {
    var (code, score) = (0, halfSquares[0] - products[0])
    for candidate in 1..<max(halfSquares.count, 1) {
      let value = halfSquares[candidate] - products[candidate]
      if value < score { (code, score) = (candidate, value) }
    }
    return code
  }
}
