import DataParallel
import Files
import Foundation
import Interfaces
import TensorCore
import Training

/// What the ranks of a job find out together.
struct JobMeasurements: Sendable, Equatable {
  /// From the first rank of a host to that of another.
  struct Link: Codable, Sendable, Equatable {
    let from: Int
    let to: Int
    /// Of an empty message there and back.
    let microseconds: Double
    /// Of a long message there.
    let megabytesPerSecond: Double
  }

  /// What the library talks by, from the first rank of a host to that of the next one.
  struct Path: Codable, Sendable, Equatable {
    let fromHost: Int
    let toHost: Int
    /// Of the first one, with TCP connections, in alphabetical order; none: it is not TCP.
    let interfaces: [String]
  }

  /// An address of a host that does not answer another one.
  struct Silence: Codable, Sendable, Equatable {
    let fromHost: Int
    let toHost: Int
    let address: InterfaceAddress
  }

  /// Of each rank: products of its threads while all ranks compute.
  var gflops: [Double] = []
  /// Of each host: seconds that its clock is ahead of the first one's.
  var clockAhead: [Int: Double] = [:]
  var links: [Link] = []
  /// A rank's bytes over the time of an allreduce; nil: one rank.
  var allReduceMegabytesPerSecond: Double?
  /// Ranks that may not read the memory of their neighbour on the host.
  var ranksWithoutPeerMemory: [Int] = []
  var silences: [Silence] = []
  var paths: [Path] = []
}

/// Makes them.
struct JobProbe {
  private static let productSeconds = 0.3
  /// Side of the matrices of a product.
  private static let productSide = 384
  private static let messageBytes = 8 << 20
  private static let pings = 20
  private static let longMessages = 3
  private static let connectSeconds = 1.0
  /// A message that takes longer does not come.
  private static let patience = 5.0

  let group: any ProcessGroup
  let pool: ThreadPool
  /// Of all ranks.
  let facts: [RankFacts]

  /// Collective. Blocking.
  func run() throws -> JobMeasurements {
    var result = JobMeasurements()
    result.gflops = try group.gather(products())
    let clocks = try HostClocks.secondsAhead(of: group, messenger) {
      Date().timeIntervalSince1970
    }
    for (leader, ahead) in zip(leaders, clocks) {
      result.clockAhead[group.hosts[leader]] = ahead
    }
    result.links = try links()
    result.allReduceMegabytesPerSecond = try allReduce()
    let canRead = try group.gather(canReadNeighbour)
    result.ranksWithoutPeerMemory = canRead.indices.filter { !canRead[$0] }
    result.silences = try group.gather(silences()).flatMap { $0 }
    result.paths = try group.gather(paths()).flatMap { $0 }
    return result
  }

  /// The first rank of each host, in ascending order.
  private var leaders: [Int] { HostClocks.leaders(of: group) }

  private var messenger: Messenger {
    Messenger(group, purpose: "doctor", patience: JobProbe.patience)
  }

  // MARK: Measurements

  /// GFLOP/s of this rank while all compute.
  private func products() throws -> Double {
    let side = JobProbe.productSide
    let memory = (0..<pool.threadCount).map { _ in
      (0..<3).map { _ in Tensor(repeating: 0.5, shape: [side, side]) }
    }
    func round() {
      pool.run(pool.threadCount, as: .products) { thread, _ in
        let matrices = memory[thread]
        BLAS.multiply(
          m: side, n: side, k: side, matrices[0].pointer, lda: side, matrices[1].pointer, ldb: side,
          beta: 0, matrices[2].pointer, ldc: side)
      }
    }
    round()
    try group.barrier()
    let started = now
    var rounds = 0
    repeat {
      round()
      rounds += 1
    } while now - started < JobProbe.productSeconds
    let flops = 2 * Double(side * side * side) * Double(rounds * pool.threadCount)
    return flops / (now - started) / 1e9
  }

  /// From every host to the next one, pairs that share no host at the same time.
  private func links() throws -> [JobMeasurements.Link] {
    let count = leaders.count
    guard count > 1 else { return [] }
    let pairs = (0..<(count == 2 ? 1 : count)).map { ($0, ($0 + 1) % count) }
    var own: [JobMeasurements.Link] = []
    for round in 0..<3 {
      try group.barrier()
      // With an odd number the last pair has a host of the first.
      for (index, (from, to)) in pairs.enumerated()
      where round == (index == count - 1 && count % 2 == 1 ? 2 : index % 2) {
        if let link = try measure(leaders[from], leaders[to]) { own.append(link) }
      }
    }
    return try group.gather(own).flatMap { $0 }.sorted { $0.from < $1.from }
  }

  /// By the connections that the messages before have left.
  private func paths() -> [JobMeasurements.Path] {
    guard leaders.count > 1, let own = leaders.firstIndex(of: group.rank) else { return [] }
    let next = leaders[(own + 1) % leaders.count]
    let there = Set(facts[next].addresses.map(\.address))
    let local = Set(ConnectedPeers.all.filter { there.contains($0.remote) }.map(\.local))
    let interfaces = local.map { address in
      facts[group.rank].addresses.first { $0.address == address }?.interface ?? address
    }.sorted()
    return [
      JobMeasurements.Path(
        fromHost: group.hosts[group.rank], toHost: facts[next].host, interfaces: interfaces)
    ]
  }

  /// - Returns: On the rank that sends.
  private func measure(_ from: Int, _ to: Int) throws -> JobMeasurements.Link? {
    let hosts = group.hosts
    if group.rank == to {
      for size in [Int](repeating: 1, count: 1 + JobProbe.pings)
        + [Int](repeating: JobProbe.messageBytes, count: JobProbe.longMessages)
      {
        _ = try messenger.receive(size, from: from)
        try messenger.send([0], to: from)
      }
      return nil
    }
    guard group.rank == from else { return nil }
    func seconds(_ size: Int) throws -> Double {
      let message = [UInt8](repeating: 0, count: size)
      let started = now
      try messenger.send(message, to: to)
      _ = try messenger.receive(1, from: to)
      return now - started
    }
    // The first one may have to connect.
    _ = try seconds(1)
    let trips = try (0..<JobProbe.pings).map { _ in try seconds(1) }.sorted()
    let trip = trips[JobProbe.pings / 2]
    // The best: of others' work a link is not slow.
    let long = try (0..<JobProbe.longMessages).map { _ in try seconds(JobProbe.messageBytes) }.min()
    return JobMeasurements.Link(
      from: hosts[from], to: hosts[to], microseconds: trip * 1e6,
      megabytesPerSecond: Double(JobProbe.messageBytes) / 1e6
        / max((long ?? .infinity) - trip, 1e-6))
  }

  private func allReduce() throws -> Double? {
    guard group.worldSize > 1 else { return nil }
    let values = UnsafeMutableBufferPointer<Float>.allocate(capacity: JobProbe.messageBytes / 4)
    defer { values.deallocate() }
    values.initialize(repeating: 1)
    var best = Double.infinity
    for _ in 0..<3 {
      try group.barrier()
      let started = now
      try group.allReduceSum(values)
      best = min(best, try group.allReduceMaximum([now - started])[0])
    }
    return Double(JobProbe.messageBytes) / 1e6 / best
  }

  /// As Open MPI's single-copy transfers need it: the same permission is asked for this file.
  private var canReadNeighbour: Bool {
    let peers = facts.filter { $0.host == group.hosts[group.rank] && $0.rank != group.rank }
    guard let peer = peers.first(where: { $0.rank > group.rank }) ?? peers.first else {
      return true
    }
    return (try? RandomAccessFile(path: "/proc/\(peer.process)/mem")) != nil
  }

  /// The first rank of a host tries the addresses of some others.
  private func silences() -> [JobMeasurements.Silence] {
    guard let own = leaders.firstIndex(of: group.rank) else { return [] }
    let others = (1..<min(leaders.count, 9)).map { leaders[(own + $0) % leaders.count] }
    return others.flatMap { leader in
      InterfaceAddress.silent(facts[leader].addresses, seconds: JobProbe.connectSeconds).map {
        JobMeasurements.Silence(
          fromHost: group.hosts[group.rank], toHost: facts[leader].host, address: $0)
      }
    }
  }

  private var now: Double { ProcessInfo.processInfo.systemUptime }
}
