import Files
import Foundation

/// How many kernel threads a rank gets.
public enum ThreadCount {
  /// `auto`: the cores that the rank is bound to, or its share of all cores where it is not bound.
  /// At least one, and never more than there are.
  public static func resolve(_ setting: String, localSize: Int) -> Int {
    if let fixed = Int(setting) { return fixed }
    let online = ProcessInfo.processInfo.processorCount
    let allowed = allowedCores ?? online
    let isBound = allowed < online && localSize > 1
    return min(64, max(1, isBound ? allowed : allowed / localSize))
  }

  /// Cores that the kernel lets this process run on. Read as text: the call behind it needs a
  /// feature macro that Swift's import of the C library does not set.
  private static var allowedCores: Int? {
    guard let status = try? Files.readText("/proc/self/status"),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("Cpus_allowed:") })
    else { return nil }
    return line.dropFirst("Cpus_allowed:".count).reduce(0) {
      $0 + ($1.hexDigitValue?.nonzeroBitCount ?? 0)
    }
  }
}
