internal import CBLAS

/// Single-precision matrix products by OpenBLAS.
///
/// Called from several threads at once, each call single-threaded: see `ThreadPool`.
public enum BLAS {
  /// Tells the library to compute on the calling thread only.
  static func useOneThread() { openblas_set_num_threads(1) }

  /// Name of the kernel set that the library chose for this CPU. Ranks with different ones do not
  /// compute the same bits.
  public static var coreName: String { String(cString: openblas_get_corename()) }

  /// Version and build options of the library.
  public static var configuration: String { String(cString: openblas_get_config()) }

  /// `C = alpha op(A) op(B) + beta C`, row-major, `op(A)` is `[m, k]`, `op(B)` is `[k, n]`.
  ///
  /// - Parameters:
  ///   - lda, ldb, ldc: Distance between rows of the matrices as stored.
  /// - Precision: Float; the order of the sums is the library's own and depends on the CPU and on
  ///   the shape, not on the calling thread.
  public static func multiply(
    transposeA: Bool = false, transposeB: Bool = false, m: Int, n: Int, k: Int,
    alpha: Float = 1, _ a: UnsafePointer<Float>, lda: Int, _ b: UnsafePointer<Float>, ldb: Int,
    beta: Float, _ c: UnsafeMutablePointer<Float>, ldc: Int
  ) {
    cblas_sgemm(
      CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans,
      transposeB ? CblasTrans : CblasNoTrans, blasint(m), blasint(n), blasint(k), alpha, a,
      blasint(lda), b, blasint(ldb), beta, c, blasint(ldc))
  }
}
