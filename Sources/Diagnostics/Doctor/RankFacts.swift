import Files
import Foundation
import Interfaces
import TensorCore
import Training

/// What a rank finds out of itself and its host, without the others.
struct RankFacts: Codable, Sendable, Equatable {
  var rank = 0
  /// The number of its host in the job.
  var host = 0
  var hostName = ""
  var version = ""
  /// Of the bytes of the program.
  var programHash = ""
  var configurationHash = ""
  /// Of the CPU, that this build needs.
  var missingFeatures: [String] = []
  var blasKernels = ""
  /// That the kernels do not use what the CPU has.
  var blasWarning: String?
  /// `OPENBLAS_NUM_THREADS`; nil: not set.
  var blasThreads: Int?
  /// Kernel threads that a run would have.
  var threads = 1
  /// That the rank may run on, by cpuset.
  var cores = 1
  /// Of the host.
  var processors = 1
  /// CPU time that its cgroup may take, in cores; nil: no limit.
  var cgroupCores: Double?
  var memoryBytes = 0
  var availableBytes = 0
  /// Nil: no limit.
  var cgroupBytes: Int?
  /// Free in /dev/shm.
  var sharedBytes = 0
  var openFiles = 0
  var addresses: [InterfaceAddress] = []
  var process: Int32 = 0
  /// What went wrong with the folders of the run, a sentence each.
  var folderProblems: [String] = []
  /// Slowest of a write that is synced to the output folder.
  var syncMilliseconds = 0.0
}

extension RankFacts {
  /// - Parameter threads: Of the configuration, resolved.
  init(of group: any ProcessGroup, configuration: String, threads: Int) {
    (rank, host) = (group.rank, group.hosts[group.rank])
    hostName = ProcessInfo.processInfo.hostName
    version = Version.current
    programHash = (try? Hash64.ofFile("/proc/self/exe")).map { Hash64.hex($0.hash) } ?? "unknown"
    var hash = Hash64()
    hash.update(configuration)
    configurationHash = Hash64.hex(hash.finalize())
    missingFeatures = BuildTarget.missingFeatures
    (blasKernels, blasWarning) = (BLAS.coreName, BLAS.warning)
    blasThreads = ProcessInfo.processInfo.environment["OPENBLAS_NUM_THREADS"].flatMap { Int($0) }
    self.threads = threads
    processors = ProcessInfo.processInfo.processorCount
    cores = ThreadCount.allowedCores ?? processors
    (cgroupCores, cgroupBytes) = (ControlGroup.cores, ControlGroup.memoryBytes)
    (memoryBytes, availableBytes) = (
      SystemMemory.bytes("MemTotal"), SystemMemory.bytes("MemAvailable")
    )
    sharedBytes = SystemMemory.freeBytes(of: "/dev/shm")
    var limit = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
      openFiles = Int(clamping: limit.rlim_cur)
    }
    addresses = InterfaceAddress.all
    process = getpid()
  }
}

/// Limits of the cgroup that this process is in, version 2 or 1.
private enum ControlGroup {
  static var cores: Double? {
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

  static var memoryBytes: Int? {
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

private enum SystemMemory {
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
