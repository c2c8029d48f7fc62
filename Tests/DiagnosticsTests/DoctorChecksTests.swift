import Testing

@testable import Diagnostics

/// What the doctor makes of facts: each fault alone is named, with its place, and nothing else is.
@Suite struct DoctorChecksTests {
  /// Two ranks on each of three sound hosts.
  private static var facts: [RankFacts] {
    (0..<6).map { rank in
      var facts = RankFacts()
      (facts.rank, facts.host, facts.hostName) = (rank, rank / 2, "node-\(rank / 2 + 1)")
      (facts.version, facts.programHash, facts.configurationHash) = ("1", "abc", "def")
      facts.blasKernels = "SkylakeX"
      (facts.blasThreads, facts.threads, facts.cores, facts.processors) = (1, 2, 4, 4)
      (facts.memoryBytes, facts.availableBytes) = (64 << 30, 60 << 30)
      (facts.sharedBytes, facts.openFiles) = (32 << 30, 4096)
      facts.addresses = [InterfaceAddress(interface: "eth0", address: "10.0.0.\(rank / 2 + 1)")]
      return facts
    }
  }

  private static var measured: JobMeasurements {
    var measured = JobMeasurements()
    measured.gflops = [Double](repeating: 100, count: 6)
    measured.clockAhead = [0: 0, 1: 0.001, 2: -0.002]
    measured.links = (0..<3).map {
      JobMeasurements.Link(from: $0, to: ($0 + 1) % 3, microseconds: 60, megabytesPerSecond: 110)
    }
    measured.allReduceMegabytesPerSecond = 90
    return measured
  }

  private func checks(
    _ change: (inout [RankFacts], inout JobMeasurements) -> Void = { _, _ in }
  ) -> [DoctorCheck] {
    var (facts, measured) = (Self.facts, Self.measured)
    change(&facts, &measured)
    return DoctorChecks(facts: facts, measured: measured).all
  }

  @Test func aSoundClusterIsSound() {
    let checks = checks()
    #expect(checks.allSatisfy { $0.state == .ok && $0.advice == nil && !$0.found.isEmpty })
    #expect(Set(checks.map(\.name)).count == checks.count)
  }

  /// A fault: what it changes, the row that tells of it, and words in what is found or advised.
  struct Fault: Sendable, CustomTestStringConvertible {
    let name: String
    let state: DoctorCheck.State
    let words: [String]
    let change: @Sendable (inout [RankFacts], inout JobMeasurements) -> Void
    var testDescription: String { name }
  }

  static let faults: [Fault] = [
    Fault(name: "program", state: .error, words: ["(abc) on rank 0, but 1 (xyz) on node-2"]) {
      facts, _ in
      for rank in 2..<4 { facts[rank].programHash = "xyz" }
    },
    Fault(name: "configuration", state: .error, words: ["but other on node-3"]) { facts, _ in
      facts[5].configurationHash = "other"
    },
    Fault(name: "processor", state: .error, words: ["node-1 lacks avx2", "CAE_TARGET_CPU"]) {
      facts, _ in facts[0].missingFeatures = ["avx2"]
    },
    Fault(name: "BLAS kernels", state: .warning, words: ["Haswell and SkylakeX", "same bits"]) {
      facts, _ in facts[3].blasKernels = "Haswell"
    },
    Fault(name: "BLAS kernels", state: .warning, words: ["AVX2"]) { facts, _ in
      for rank in 0..<6 { facts[rank].blasWarning = "warning" }
    },
    Fault(name: "BLAS threads", state: .warning, words: ["is 8 on node-2"]) { facts, _ in
      facts[2].blasThreads = 8
    },
    Fault(name: "BLAS threads", state: .warning, words: ["not set on node-1, node-2, node-3"]) {
      facts, _ in for rank in 0..<6 { facts[rank].blasThreads = nil }
    },
    Fault(name: "threads", state: .warning, words: ["more threads than cores on node-3"]) {
      facts, measured in
      for rank in 4..<6 { (facts[rank].threads, measured.gflops[rank]) = (3, 150) }
    },
    // Bound to a core each.
    Fault(name: "threads", state: .warning, words: ["on node-1"]) { facts, _ in
      for rank in 0..<2 { (facts[rank].cores, facts[rank].threads) = (1, 2) }
    },
    Fault(name: "threads", state: .warning, words: ["on node-2"]) { facts, _ in
      for rank in 2..<4 { facts[rank].cgroupCores = 2.5 }
    },
    Fault(name: "shared memory", state: .error, words: ["17 MB free", "node-2", "--shm-size"]) {
      facts, _ in for rank in 2..<4 { facts[rank].sharedBytes = 16 << 20 }
    },
    Fault(name: "shared memory", state: .warning, words: ["537 MB free"]) { facts, _ in
      facts[0].sharedBytes = 512 << 20
    },
    Fault(name: "single copies", state: .warning, words: ["node-3", "ptrace_scope"]) {
      _, measured in
      measured.ranksWithoutPeerMemory = [4, 5]
    },
    Fault(name: "open files", state: .warning, words: ["256 allowed on node-1"]) { facts, _ in
      facts[0].openFiles = 256
    },
    Fault(name: "folders", state: .error, words: ["node-2: runs: Read-only file system"]) {
      facts, _ in facts[3].folderProblems = ["runs: Read-only file system"]
    },
    Fault(name: "folders", state: .warning, words: ["in 900 ms"]) { facts, _ in
      facts[3].syncMilliseconds = 900
    },
    Fault(name: "clocks", state: .warning, words: ["node-3 is 7.500 s behind of node-1"]) {
      _, measured in measured.clockAhead[2] = -7.5
    },
    Fault(name: "speed", state: .warning, words: ["node-2 at 50 % of the best"]) { _, measured in
      for rank in 2..<4 { measured.gflops[rank] = 50 }
    },
    Fault(
      name: "interfaces", state: .error,
      words: ["10.9.9.1 of vpn0 on node-2 does not answer node-1", "btl_tcp_if_exclude lo,vpn0"]
    ) { _, measured in
      measured.silences = [
        JobMeasurements.Silence(
          fromHost: 0, toHost: 1,
          address: InterfaceAddress(interface: "vpn0", address: "10.9.9.1"))
      ]
    },
    Fault(
      name: "transport", state: .warning,
      words: ["TCP over eth0, but TCP over docker0 from node-2 to node-3", "btl_tcp_if_include"]
    ) { _, measured in
      measured.paths = [(0, 1, "eth0"), (1, 2, "docker0"), (2, 0, "eth0")].map {
        JobMeasurements.Path(fromHost: $0.0, toHost: $0.1, interfaces: [$0.2])
      }
    },
    // Of three hosts in a ring the second has the slow link.
    Fault(name: "links", state: .warning, words: ["55 to 110 MB/s", "slow at node-2", "ethtool"]) {
      _, measured in
      measured.links = measured.links.map {
        JobMeasurements.Link(
          from: $0.from, to: $0.to, microseconds: 60,
          megabytesPerSecond: $0.from == 1 || $0.to == 1 ? 55 : 110)
      }
    },
  ]

  @Test(arguments: faults)
  func aFaultIsNamedAlone(fault: Fault) throws {
    let rows = checks(fault.change).filter { $0.state != .ok }
    try #require(rows.map(\.name) == [fault.name], "\(rows)")
    #expect(rows[0].state == fault.state)
    let text = rows[0].found + " | " + (rows[0].advice ?? "")
    for words in fault.words { #expect(text.contains(words), "\(text)") }
  }

  @Test func aSmallerLimitOfMemoryIsSaid() {
    let memory = checks { facts, _ in facts[2].cgroupBytes = 8 << 30 }.first { $0.name == "memory" }
    #expect(memory?.state == .ok)
    #expect(memory?.found.contains("8.6 GB free of 68.7 GB on node-2; a limit of 8.6 GB") == true)
  }

  @Test func oneRankHasNoNeighbours() {
    var measured = JobMeasurements()
    measured.gflops = [100]
    measured.clockAhead = [0: 0]
    let rows = DoctorChecks(facts: [Self.facts[0]], measured: measured).all
    #expect(rows.allSatisfy { $0.state == .ok })
    #expect(!rows.contains { ["allreduce", "links"].contains($0.name) })
  }

  @Test func connectionsAreThoseOfTheKernelsTable() {
    let table = """
        sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
         0: 014DD50A:A2F4 024DD50A:0400 01 00000000:00000000 00:00000000 00000000     0        0 4711 1
         1: 014DD50A:A2F5 034DD50A:0400 01 00000000:00000000 00:00000000 00000000     0        0 4712 1
         2: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
      """
    #expect(
      ConnectedPeers.parse(table, inodes: ["4711"]) == [
        ConnectedPeers.Connection(local: "10.213.77.1", remote: "10.213.77.2")
      ])
  }

  /// Loopback answers; to the address of all hosts of a network there is no connection.
  @Test func addressesThatDoNotAnswerAreFound() {
    let there = InterfaceAddress(interface: "lo", address: "127.0.0.1")
    let nowhere = InterfaceAddress(interface: "eth9", address: "255.255.255.255")
    #expect(InterfaceAddress.silent([there, nowhere], seconds: 0.2) == [nowhere])
  }
}
