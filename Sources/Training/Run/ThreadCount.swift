/// How many threads a rank starts, of the cores that `RankLayout` gives it.
public enum ThreadCount {
  /// Of OpenBLAS as Debian builds it: more threads would wait for each other's buffers.
  static let largest = 64

  /// Kernel threads: the number that is set, or for `auto` one a core.
  public static func resolve(_ setting: String, cores: Int) -> Int {
    Int(setting) ?? min(largest, max(1, cores))
  }

  /// Threads that decode images. `auto`: the cores that kernel threads leave free, at least one: a
  /// rank without free cores shares them with one decoding thread, since a CAE-S step takes a
  /// hundred times as long as decoding its images.
  public static func forLoader(_ setting: String, kernelThreads: Int, cores: Int) -> Int {
    Int(setting) ?? min(16, max(1, cores - kernelThreads))
  }
}
