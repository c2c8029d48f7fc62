import Glibc
import TensorCore

/// What OpenBLAS decides while it is loaded, so that only the environment of a new start says otherwise.
///
/// On a CPU that is newer than itself it takes kernels without vector units, at a fifth of the rate; and it
/// starts a thread for each core of the host, in every rank, which nobody here needs.
public enum KernelChoice {
  private static let (core, threads) = ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS")

  /// The kernels for a CPU with these features, by their name in OpenBLAS.
  static func kernels(for features: Set<Substring>) -> String? {
    if ["avx512f", "avx512bw", "avx512dq", "avx512vl"].allSatisfy(features.contains) {
      return "SkylakeX"
    }
    return features.contains("avx2") && features.contains("fma") ? "Haswell" : nil
  }

  /// Starts this program anew, with the same arguments and process number, where the user has not
  /// chosen. To be called before anything else has happened.
  public static func restartWhereNeeded() {
    var isChanged = false
    if getenv(threads) == nil { isChanged = setenv(threads, "1", 0) == 0 }
    if BLAS.warning != nil, getenv(core) == nil, let kernels = kernels(for: BuildTarget.features) {
      isChanged = setenv(core, kernels, 0) == 0
    }
    // What is set now makes the new start go on from here.
    guard isChanged else { return }
    // By its own path, so that the process keeps the name that people look for.
    var path = [CChar](repeating: 0, count: Int(PATH_MAX))
    if readlink("/proc/self/exe", &path, path.count - 1) > 0 {
      execv(path, CommandLine.unsafeArgv)
    }
    execv("/proc/self/exe", CommandLine.unsafeArgv)
    // Where the system does not, the run is slow, and says so.
  }
}
