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

  /// What to say where the library, being older than the CPU, has chosen kernels that do not use
  /// its vector units: products then run at a fifth of their rate. Nil where all is well.
  public static var warning: String? {
    #if CAE_CPU_X86_64_V3 || CAE_CPU_X86_64_V4 || CAE_CPU_NATIVE
      let kernelsWithoutAVX = [
        "Generic", "Prescott", "Katmai", "Coppermine", "Northwood", "Banias", "Core2", "Penryn",
        "Dunnington", "Nehalem", "Athlon", "Opteron", "Barcelona", "Atom", "Nano",
      ]
      guard kernelsWithoutAVX.contains(where: { coreName.hasPrefix($0) }) else { return nil }
      return
        "warning: OpenBLAS uses its \(coreName) kernels, which do not know AVX2; unset "
        + "OPENBLAS_CORETYPE, or export OPENBLAS_CORETYPE=Haswell (SkylakeX for AVX-512)"
    #else
      return nil
    #endif
  }

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
