import Files
import Foundation

/// How many threads a rank gets.
public enum ThreadCount {
  /// `auto`: the cores that the rank is bound to, or its share of all cores where it is not bound.
  /// At least one, and never more than there are.
  public static func resolve(_ setting: String, localSize: Int) -> Int {
    if let fixed = Int(setting) { return fixed }
    return min(64, max(1, cores(localSize: localSize)))
  }

  /// Threads of a rank that decode images. `auto`: its cores that kernel threads leave free, at
  /// least one: a rank without free cores shares them with one decoding thread, since a CAE-S step
  /// takes a hundred times as long as decoding its images.
  public static func forLoader(_ setting: String, kernelThreads: Int, localSize: Int) -> Int {
    if let fixed = Int(setting) { return fixed }
    return min(16, max(1, cores(localSize: localSize) - kernelThreads))
  }

  /// The cores that the rank is bound to, or its share of all.
  private static func cores(localSize: Int) -> Int {
    let online = ProcessInfo.processInfo.processorCount
    let allowed = allowedCores ?? online
    let isBound = allowed < online && localSize > 1
    return isBound ? allowed : allowed / localSize
  }

  /// Cores that the kernel lets this process run on. Read as text: the call behind it needs a
  /// feature macro that Swift's import of the C library does not set.
  public static var allowedCores: Int? {
    guard let status = try? Files.readText("/proc/self/status"),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("Cpus_allowed:") })
    else { return nil }
    return line.dropFirst("Cpus_allowed:".count).reduce(0) {
      $0 + ($1.hexDigitValue?.nonzeroBitCount ?? 0)
    }
  }
}
