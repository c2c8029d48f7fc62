import Files

/// Limits of the control group that this process is in, version 2 or 1: those of a container, or of a
/// scheduler's job. A group has the smallest limit of itself and of all above it.
public enum ControlGroup {
  /// CPU time that all its processes together may take, in cores; nil: no limit.
  public static var cores: Double? {
    let quotas =
      texts("cpu.max").compactMap(quota(ofVersion2:))
      + zip(texts("cpu.cfs_quota_us", of: "cpu"), texts("cpu.cfs_period_us", of: "cpu"))
      .compactMap { quota(ofVersion2: "\($0) \($1)") }
    return quotas.min()
  }

  /// Memory that all its processes together may take; nil: no limit.
  public static var memoryBytes: Int? {
    let limits = texts("memory.max") + texts("memory.limit_in_bytes", of: "memory")
    return limits.compactMap(bytes(of:)).min()
  }

  /// `200000 100000` are two cores, `max 100000` and `-1 100000` no limit.
  static func quota(ofVersion2 text: String) -> Double? {
    let words = text.split { $0 == " " || $0 == "\n" }
    guard words.count == 2, let quota = Double(words[0]), let period = Double(words[1]),
      quota > 0, period > 0
    else { return nil }
    return quota / period
  }

  /// Version 1 writes a number beyond any memory for "none", version 2 a word.
  static func bytes(of text: String) -> Int? {
    text.split(separator: "\n").first.flatMap { Int($0) }.flatMap { $0 < 1 << 50 ? $0 : nil }
  }

  /// The group's path, from `/proc/self/cgroup`.
  ///
  /// - Parameter controller: Of version 1; nil: version 2.
  static func path(_ table: String, of controller: String?) -> String? {
    for line in table.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let controllers = parts[1].split(separator: ",").map(String.init)
      if controller.map(controllers.contains) ?? (parts[0] == "0" && controllers.isEmpty) {
        return String(parts[2])
      }
    }
    return nil
  }

  /// Of the group and of those above it, as far as they are seen from here.
  private static func texts(_ file: String, of controller: String? = nil) -> [String] {
    let table = (try? Files.readText("/proc/self/cgroup")) ?? ""
    let root = "/sys/fs/cgroup" + (controller.map { "/\($0)" } ?? "")
    // Of another namespace, the path may not be there, but the root is.
    let names = (path(table, of: controller) ?? "").split(separator: "/")
    return (0...names.count).compactMap { depth in
      let folder = ([root] + names.prefix(depth).map(String.init)).joined(separator: "/")
      return try? Files.readText("\(folder)/\(file)")
    }
  }
}
