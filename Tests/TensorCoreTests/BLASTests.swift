import TestSupport
import Testing

@testable import TensorCore

@Suite struct BLASTests {
  /// Float sums of 9 products below 1 in magnitude.
  static let tolerance: Float = 1e-5

  @Test(arguments: [false, true], [false, true])
  func productsOfStridedMatrices(transposeA: Bool, transposeB: Bool) {
    let (m, n, k, padding) = (5, 7, 9, 3)
    let (lda, ldb, ldc) = (
      (transposeA ? m : k) + padding, (transposeB ? k : n) + padding, n + padding
    )
    var values = TestValues(1)
    let a = values.floats((transposeA ? k : m) * lda)
    let b = values.floats((transposeB ? n : k) * ldb)
    let old = values.floats(m * ldc)
    for (alpha, beta) in [(Float(1), Float(0)), (1, 1), (0.5, 0.25)] {
      var c = old
      BLAS.multiply(
        transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, alpha: alpha, a,
        lda: lda, b, ldb: ldb, beta: beta, &c, ldc: ldc)
      let expected = old.indices.map { index -> Float in
        let (row, column) = (index / ldc, index % ldc)
        guard column < n else { return old[index] }
        let sum = (0..<k).reduce(Float(0)) {
          let left = transposeA ? a[$1 * lda + row] : a[row * lda + $1]
          return $0 + left * (transposeB ? b[column * ldb + $1] : b[$1 * ldb + column])
        }
        return alpha * sum + beta * old[index]
      }
      #expect(largestDifference(c, expected) < BLASTests.tolerance)
    }
  }

  @Test func theLibraryNamesItself() {
    #expect(!BLAS.coreName.isEmpty)
    #expect(BLAS.configuration.contains("OpenBLAS"))
  }
}
