import Glibc
import TensorCore

/// OpenBLAS chooses kernels for the CPU while it is loaded, and on one that is newer than itself those
/// without vector units, at a fifth of the rate. Only the environment of a new start says otherwise.
public enum KernelChoice {
  private static let variable = "OPENBLAS_CORETYPE"

  /// The kernels for a CPU with these features, by their name in OpenBLAS.
  static func kernels(for features: Set<Substring>) -> String? {
    if ["avx512f", "avx512bw", "avx512dq", "avx512vl"].allSatisfy(features.contains) {
      return "SkylakeX"
    }
    return features.contains("avx2") && features.contains("fma") ? "Haswell" : nil
  }

  /// Starts this program anew, with the same arguments and process number, where that is so and the
  /// user has not chosen. To be called before anything else has happened.
  public static func restartWhereNeeded() {
    guard BLAS.warning != nil, getenv(variable) == nil,
      let kernels = kernels(for: BuildTarget.features)
    else { return }
    // It is set now, so that the new start goes on from here.
    setenv(variable, kernels, 1)
    execv("/proc/self/exe", CommandLine.unsafeArgv)
    // Where the system does not, the run is slow, and says so.
  }
}
