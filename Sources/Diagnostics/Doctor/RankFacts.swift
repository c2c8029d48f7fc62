import Files
import Foundation
import Hardware
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
