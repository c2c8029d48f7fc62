import Files
import Foundation

/// Memory of this host as the kernel counts it.
enum SystemMemory {
  /// A line of /proc/meminfo; 0 where there is none.
  static func bytes(_ name: String) -> Int {
    guard let text = try? Files.readText("/proc/meminfo"),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix(name + ":") }),
      let kilobytes = line.split(separator: " ").compactMap({ Int($0) }).first
    else { return 0 }
    return kilobytes * 1024
  }

  /// 0 where there is no such file system.
  static func freeBytes(of path: String) -> Int {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return 0 }
    return Int(clamping: status.f_bavail) * Int(clamping: status.f_frsize)
  }
}
