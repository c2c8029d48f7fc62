import Files

/// Limits of the control group that this process is in, version 2 or 1, as a container sees it.
public enum ControlGroup {
  /// CPU time that all its processes together may take, in cores; nil: no limit.
  public static var cores: Double? {
    if let words = words("/sys/fs/cgroup/cpu.max"), words.count == 2, let quota = Double(words[0]),
      let period = Double(words[1]), period > 0
    {
      return quota / period
    }
    guard let quota = words("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")?.first.flatMap({ Double($0) }),
      let period = words("/sys/fs/cgroup/cpu/cpu.cfs_period_us")?.first.flatMap({ Double($0) }),
      quota > 0, period > 0
    else { return nil }
    return quota / period
  }

  /// Memory that all its processes together may take; nil: no limit.
  public static var memoryBytes: Int? {
    for path in [
      "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ] {
      // Version 1 writes a number beyond any memory for "none".
      if let bytes = words(path)?.first.flatMap({ Int($0) }), bytes < 1 << 50 { return bytes }
    }
    return nil
  }

  private static func words(_ path: String) -> [Substring]? {
    (try? Files.readText(path))?.split { $0 == " " || $0 == "\n" }
  }
}
