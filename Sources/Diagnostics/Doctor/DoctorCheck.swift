import Foundation

/// One row of what `cae-dist doctor` says.
public struct DoctorCheck: Encodable, Sendable, Equatable {
  public enum State: String, Encodable, Sendable {
    case ok
    case warning
    case error
  }

  public let name: String
  public let state: State
  public let found: String
  /// What to do; nil where all is well.
  public let advice: String?

  init(_ name: String, _ state: State, _ found: String, advice: String) {
    (self.name, self.state, self.found, self.advice) = (name, state, found, advice)
  }

  /// All is well.
  init(_ name: String, _ found: String) {
    (self.name, state, self.found, advice) = (name, .ok, found, nil)
  }
}

/// Makes the rows, of nothing but what was found out.
struct DoctorChecks {
  /// Of the best rank or link: what is slower is named.
  private static let slow = 0.75
  /// Seconds: files that one host has just written should not be from another's future.
  private static let largestSkew = 1.0
  private static let neededSharedBytes = 64 << 20
  private static let comfortableSharedBytes = 1 << 30
  private static let neededFiles = 1024
  private static let slowSyncMilliseconds = 500.0

  let facts: [RankFacts]
  let measured: JobMeasurements

  var all: [DoctorCheck] {
    [
      program, configuration, processor, kernels, threads, blasThreads, memory, sharedMemory,
      peerMemory, openFiles, folders, clocks, speed, addresses,
    ] + transport + links
  }

  /// One sentence for those whose value is not that of rank 0.
  private func same(
    _ name: String, _ value: (RankFacts) -> String, advice: String
  ) -> DoctorCheck {
    let first = facts.first.map(value) ?? ""
    let others = facts.filter { value($0) != first }
    guard let other = others.first else { return DoctorCheck(name, first + ranks(facts)) }
    return DoctorCheck(
      name, .error, "\(first) on rank 0, but \(value(other)) on \(places(others))", advice: advice)
  }

  private func ranks(_ facts: [RankFacts]) -> String {
    facts.count == 1 ? "" : " on all \(facts.count) ranks"
  }

  /// Hosts of ranks, by name.
  private func places(_ facts: [RankFacts]) -> String {
    var names: [String] = []
    for fact in facts where !names.contains(fact.hostName) { names.append(fact.hostName) }
    return names.prefix(4).joined(separator: ", ")
      + (names.count > 4 ? " and \(names.count - 4) hosts more" : "")
  }

  /// First ranks of the hosts.
  private var hosts: [RankFacts] {
    facts.filter { fact in facts.first { $0.host == fact.host }?.rank == fact.rank }
  }

  private func hostName(_ host: Int) -> String {
    facts.first { $0.host == host }?.hostName ?? "host \(host)"
  }

  // MARK: Programs

  private var program: DoctorCheck {
    same(
      "program", { "\($0.version) (\($0.programHash))" },
      advice: "install one build on all hosts, or start it from a folder that they share")
  }

  private var configuration: DoctorCheck {
    same(
      "configuration", \.configurationHash,
      advice: "give all hosts the same file: put it into a folder that they share")
  }

  private var processor: DoctorCheck {
    let lacking = facts.filter { !$0.missingFeatures.isEmpty }
    guard let first = lacking.first else {
      return DoctorCheck("processor", "has what this build needs")
    }
    return DoctorCheck(
      "processor", .error,
      "\(places(lacking)) lacks \(first.missingFeatures.joined(separator: ", "))",
      advice: "build with CAE_TARGET_CPU=x86-64-v2")
  }

  private var kernels: DoctorCheck {
    let names = Set(facts.map(\.blasKernels))
    if names.count > 1 {
      return DoctorCheck(
        "BLAS kernels", .warning, names.sorted().joined(separator: " and "),
        advice: "ranks with different ones do not compute the same bits: export OPENBLAS_CORETYPE")
    }
    if let fact = facts.first(where: { $0.blasWarning != nil }) {
      return DoctorCheck(
        "BLAS kernels", .warning, fact.blasKernels,
        advice: "they do not use AVX2: export OPENBLAS_CORETYPE=Haswell, or SkylakeX for AVX-512")
    }
    return DoctorCheck("BLAS kernels", names.joined())
  }

  // MARK: Cores

  private var threads: DoctorCheck {
    let crowded = hosts.filter { fact in
      let own = facts.filter { $0.host == fact.host }
      let wanted = own.reduce(0) { $0 + $1.threads }
      // Ranks that are bound to cores of their own see those alone.
      let isBound = own.contains { $0.cores < fact.processors }
      let cores = isBound ? own.reduce(0) { $0 + $1.cores } : fact.cores
      return Double(wanted) > min(Double(cores), fact.cgroupCores ?? .infinity)
    }
    let counts = Set(facts.map { "\($0.threads)" }).sorted().joined(separator: " or ")
    let cores = Set(facts.map { "\($0.cores)" }).sorted().joined(separator: " or ")
    let found = "\(counts) of a rank, which may use \(cores) of \(facts[0].processors) cores"
    guard !crowded.isEmpty else { return DoctorCheck("threads", found) }
    return DoctorCheck(
      "threads", .warning, found + "; more threads than cores on \(places(crowded))",
      advice: "start fewer ranks of a host, or set parallelism.threadsPerRank")
  }

  private var blasThreads: DoctorCheck {
    let many = facts.filter { $0.blasThreads != 1 && $0.processors > 1 }
    guard let first = many.first else { return DoctorCheck("BLAS threads", "1") }
    return DoctorCheck(
      "BLAS threads", .warning,
      "OPENBLAS_NUM_THREADS is \(first.blasThreads.map(String.init) ?? "not set") on "
        + "\(places(many)): the library starts threads that nobody needs",
      advice:
        "export OPENBLAS_NUM_THREADS=1, as Cluster/launch does (mpirun -x OPENBLAS_NUM_THREADS)")
  }

  private var speed: DoctorCheck {
    let perThread = zip(measured.gflops, facts).map { $0 / Double(max($1.threads, 1)) }
    let best = perThread.max() ?? 0
    let slow = zip(facts, perThread).filter { $0.1 < DoctorChecks.slow * best }
    let found = String(
      format: "%.1f to %.1f GFLOP/s a thread", perThread.min() ?? 0, best)
    guard let slowest = slow.min(by: { $0.1 < $1.1 }) else { return DoctorCheck("speed", found) }
    return DoctorCheck(
      "speed", .warning,
      found
        + String(
          format: "; %@ at %.0f %% of the best", places(slow.map(\.0)), 100 * slowest.1 / best),
      advice:
        "look for other jobs, a power limit or fewer memory channels there: all ranks wait for "
        + "the slowest")
  }

  // MARK: Memory

  private var memory: DoctorCheck {
    let least = hosts.min { $0.usableBytes < $1.usableBytes } ?? facts[0]
    let found = String(
      format: "%.1f GB free of %.1f GB on %@", Double(least.usableBytes) / 1e9,
      Double(least.memoryBytes) / 1e9, least.hostName)
    let limited = hosts.filter { ($0.cgroupBytes ?? .max) < $0.memoryBytes }
    guard let first = limited.first, let limit = first.cgroupBytes else {
      return DoctorCheck("memory", found)
    }
    return DoctorCheck(
      "memory",
      found + String(format: "; a limit of %.1f GB on %@", Double(limit) / 1e9, places(limited)))
  }

  private var sharedMemory: DoctorCheck {
    let least = hosts.min { $0.sharedBytes < $1.sharedBytes } ?? facts[0]
    let found = String(
      format: "%.0f MB free in /dev/shm of %@", Double(least.sharedBytes) / 1e6, least.hostName)
    guard least.sharedBytes < DoctorChecks.comfortableSharedBytes else {
      return DoctorCheck("shared memory", found)
    }
    return DoctorCheck(
      "shared memory", least.sharedBytes < DoctorChecks.neededSharedBytes ? .error : .warning,
      found,
      advice: "ranks of a host keep one copy of the parameters there: mount -o remount,size=50% "
        + "/dev/shm, or docker run --shm-size; cae-dist plan says how much a run needs")
  }

  private var peerMemory: DoctorCheck {
    let ranks = measured.ranksWithoutPeerMemory
    guard !ranks.isEmpty else { return DoctorCheck("single copies", "ranks may read each other") }
    return DoctorCheck(
      "single copies", .warning,
      "\(places(ranks.map { facts[$0] })): ranks may not read their neighbours' memory",
      advice: "messages are copied twice there: sysctl kernel.yama.ptrace_scope=0, or docker run "
        + "--cap-add SYS_PTRACE")
  }

  private var openFiles: DoctorCheck {
    let least = facts.min { $0.openFiles < $1.openFiles } ?? facts[0]
    guard least.openFiles < DoctorChecks.neededFiles else {
      return DoctorCheck("open files", "\(least.openFiles) allowed")
    }
    return DoctorCheck(
      "open files", .warning, "\(least.openFiles) allowed on \(least.hostName)",
      advice: "ulimit -n 4096: a connection to each rank and a file to each shard count")
  }

  // MARK: Files and time

  private var folders: DoctorCheck {
    let slowest = facts.map(\.syncMilliseconds).max() ?? 0
    let found = String(format: "written and synced in %.0f ms", slowest)
    let failed = facts.filter { !$0.folderProblems.isEmpty }
    if let first = failed.first {
      return DoctorCheck(
        "folders", .error, "\(places(failed)): \(first.folderProblems[0])",
        advice:
          "all hosts need the run's folder to write and the data to read, under the same paths")
    }
    guard slowest > DoctorChecks.slowSyncMilliseconds else { return DoctorCheck("folders", found) }
    return DoctorCheck(
      "folders", .warning, found,
      advice: "checkpoints will take long: name a faster file system in run.output")
  }

  private var clocks: DoctorCheck {
    let worst = measured.clockAhead.max { abs($0.value) < abs($1.value) }
    guard let worst, measured.clockAhead.count > 1 else { return DoctorCheck("clocks", "one host") }
    let found = String(
      format: "%@ is %.3f s %@ of %@", hostName(worst.key), abs(worst.value),
      worst.value < 0 ? "behind" : "ahead", facts[0].hostName)
    guard abs(worst.value) > DoctorChecks.largestSkew else { return DoctorCheck("clocks", found) }
    return DoctorCheck(
      "clocks", .warning, found,
      advice: "start chrony or ntpd there: logs and file times of the hosts do not agree")
  }

  // MARK: Network

  private var addresses: DoctorCheck {
    let names = Set(facts.flatMap { $0.addresses.map(\.interface) }).sorted()
    let found = names.isEmpty ? "none but loopback" : names.joined(separator: ", ")
    guard let silence = measured.silences.first else { return DoctorCheck("interfaces", found) }
    let silent = Set(measured.silences.map(\.address.interface)).sorted().joined(separator: ",")
    return DoctorCheck(
      "interfaces", .error,
      "\(silence.address.address) of \(silence.address.interface) on \(hostName(silence.toHost)) does "
        + "not answer \(hostName(silence.fromHost))",
      advice: "keep Open MPI from it: mpirun --mca btl_tcp_if_exclude lo,\(silent) --mca "
        + "oob_tcp_if_exclude lo,\(silent)")
  }

  private var transport: [DoctorCheck] {
    func name(_ path: JobMeasurements.Path) -> String {
      path.interfaces.isEmpty
        ? "not TCP" : "TCP over \(path.interfaces.joined(separator: " and "))"
    }
    guard let first = measured.paths.first else { return [] }
    let others = measured.paths.filter { name($0) != name(first) }
    guard let other = others.first else {
      return [DoctorCheck("transport", "\(name(first)) from each host to the next")]
    }
    return [
      DoctorCheck(
        "transport", .warning,
        "\(name(first)), but \(name(other)) from \(hostName(other.fromHost)) to "
          + hostName(other.toHost),
        advice: "name the network that all hosts share: --mca btl_tcp_if_include 10.0.0.0/24")
    ]
  }

  private var links: [DoctorCheck] {
    guard let rate = measured.allReduceMegabytesPerSecond else { return [] }
    let exchange = DoctorCheck(
      "allreduce", String(format: "%.0f MB/s of a rank over %d ranks", rate, facts.count))
    let best = measured.links.map(\.megabytesPerSecond).max() ?? 0
    guard let slowest = measured.links.min(by: { $0.megabytesPerSecond < $1.megabytesPerSecond })
    else { return [exchange] }
    let found = String(
      format: "%.0f to %.0f MB/s, %.0f us there and back at most", slowest.megabytesPerSecond, best,
      measured.links.map(\.microseconds).max() ?? 0)
    let slow = measured.links.filter { $0.megabytesPerSecond < DoctorChecks.slow * best }
    guard !slow.isEmpty else { return [exchange, DoctorCheck("links", found)] }
    // A host with a slow link is in every slow pair.
    let suspects = Set(slow.flatMap { [$0.from, $0.to] }).filter { host in
      slow.allSatisfy { $0.from == host || $0.to == host }
    }
    let names = suspects.sorted().map(hostName).joined(separator: " or ")
    return [
      exchange,
      DoctorCheck(
        "links", .warning,
        found + "; slow at \(names.isEmpty ? "several hosts" : names)",
        advice: "look at cable, port and driver of that link (ethtool): the exchange waits for it"),
    ]
  }
}

extension RankFacts {
  /// That new processes of the host may have.
  fileprivate var usableBytes: Int { min(availableBytes, cgroupBytes ?? .max) }
}
