public import DataParallel
import Foundation
import Interfaces
import NN
import TensorCore
import Training

/// `cae-dist bench allreduce`: the exchange of gradients alone, against the library's allreduce and
/// against what the links between hosts allow, all measured in turn in the same run.
public struct AllReduceBenchmark {
  public struct Options: Sendable {
    /// Float gradients of each rank.
    public var bytes: Int
    public var wire: String
    /// Rate of the link of a host in each direction; nil: it is measured.
    public var linkGbit: Double?
    /// Of a bucket of the exchange; nil: that of training.
    public var bucketBytes: Int?
    public var repeats: Int

    public init(bytes: Int, wire: String, linkGbit: Double?, bucketBytes: Int?, repeats: Int) {
      self.bytes = bytes
      self.wire = wire
      self.linkGbit = linkGbit
      self.bucketBytes = bucketBytes
      self.repeats = repeats
    }
  }

  /// Medians over the repeats, each that of the slowest rank.
  public struct Report: Encodable, Sendable {
    public let bytes: Int
    public let bucketBytes: Int
    public let ranks: Int
    public let hosts: Int
    public let wire: String
    /// From all gradients in place to all sums readable on all hosts.
    public let milliseconds: Double
    /// `MPI_Allreduce`, in place.
    public let mpiMilliseconds: Double
    /// What the link of a host has to carry in each direction, at its rate; nil on one host, as are
    /// all that follow from it.
    public let boundMilliseconds: Double?
    /// `milliseconds / mpiMilliseconds`.
    public let ratioToMpi: Double
    /// `milliseconds / boundMilliseconds`.
    public let ratioToBound: Double?
    /// A plain message from one host to another.
    public let goodputMegabytesPerSecond: Double?
    /// The same in each direction while both are busy.
    public let goodputBothWaysMegabytesPerSecond: Double?

    public var lines: [String] {
      let sizes = String(
        format: "%.1f MB over %d ranks on %d hosts, wire %@, buckets of %.1f MB",
        Double(bytes) / 1e6, ranks, hosts, wire, Double(bucketBytes) / 1e6)
      let times = String(
        format: "%.1f ms; MPI_Allreduce %.1f ms: %.2f times as fast", milliseconds,
        mpiMilliseconds, 1 / ratioToMpi)
      guard let bound = boundMilliseconds, let ratio = ratioToBound,
        let oneWay = goodputMegabytesPerSecond, let bothWays = goodputBothWaysMegabytesPerSecond
      else { return [sizes, times] }
      return [
        sizes, times,
        String(
          format: "bound of the links %.1f ms: %.3f times that; a message %.1f MB/s, %.1f each way",
          bound, ratio, oneWay, bothWays),
      ]
    }
  }

  /// Bytes of a parameter: divides buckets of any size worth trying.
  private static let pieceBytes = 1 << 18
  private static let stallTimeoutSeconds = 600.0
  /// A prime, so that no two pieces of a buffer begin alike.
  private static let patternCount = 4093
  /// Bytes of the message that a link's rate is taken from: shorter ones measure latency.
  private static let streamBytes = 32 << 20

  private let options: Options
  private let group: any ProcessGroup
  private let stallGuard: StallGuard
  private let exchange: ExchangeOptions
  /// The first ranks of the first two hosts.
  private let streamRanks: (Int, Int)?
  /// Gradients of this rank, repeated: small integers, of which every wire carries any sum.
  private let pattern: [Float]
  private let patternOfSums: [Float]

  /// Collective. Blocking.
  ///
  /// - Returns: On rank 0 the report.
  /// - Throws: Also where a sum is wrong.
  public static func run(_ options: Options, on cluster: Cluster) throws -> Report? {
    let benchmark = try Agreement(cluster.group).run {
      try AllReduceBenchmark(options, cluster)
    }
    let report = try benchmark.run(hostCount: cluster.hostCount)
    return cluster.group.rank == 0 ? report : nil
  }

  private init(_ options: Options, _ cluster: Cluster) throws(ConfigurationError) {
    let group = cluster.group
    guard options.bytes > 0, options.bytes % 4 == 0, options.repeats > 0 else {
      throw ConfigurationError(
        "bench allreduce", "--bytes must be a multiple of 4 above 0, and --repeats above 0")
    }
    guard let wire = Wire(rawValue: options.wire) else {
      throw ConfigurationError("--wire", "must be float32 or bfloat16, not \(options.wire)")
    }
    guard options.linkGbit ?? 1 > 0, options.bucketBytes ?? 4 >= 4 else {
      throw ConfigurationError(
        "bench allreduce", "--link-gbit must be above 0, and --bucket-bytes 4 or more")
    }
    guard group.worldSize > 1 else {
      throw ConfigurationError(
        "bench allreduce", "one rank has nothing to exchange; run it under mpirun -n 2 or more")
    }
    self.options = options
    self.group = group
    stallGuard = cluster.stallGuard
    var exchange = ExchangeOptions()
    exchange.wire = wire
    exchange.overlaps = false
    exchange.bucketBytes = options.bucketBytes ?? exchange.bucketBytes
    self.exchange = exchange
    streamRanks = group.hosts.firstIndex { $0 != group.hosts[0] }.map { (0, $0) }
    // Sums up to 256 are exact in bfloat16.
    let values = max(2, min(5, 256 / group.worldSize + 1))
    func value(_ index: Int, rank: Int) -> Int { (index * 40503 >> 4 + rank * 3) % values }
    pattern = (0..<AllReduceBenchmark.patternCount).map { Float(value($0, rank: group.rank)) }
    patternOfSums = (0..<AllReduceBenchmark.patternCount).map { index in
      Float((0..<group.worldSize).reduce(0) { $0 + value(index, rank: $1) })
    }
  }

  private func run(hostCount: Int) throws -> Report {
    stallGuard.limit(to: AllReduceBenchmark.stallTimeoutSeconds)
    let tree = makeTree()
    let optimizer = try DistributedOptimizer(
      tree, AdamWConfiguration(), exchange, microBatches: 1, group: group,
      stallGuard: stallGuard, pool: ThreadPool(threadCount: 1))
    if let warning = optimizer.warning, group.rank == 0 {
      FileHandle.standardError.write(Data((warning + "\n").utf8))
    }
    let buffer = HeapAllocator().allocate(count: options.bytes / 4, purpose: "allreduce")
    let isStreaming = streamRanks.map { $0 == group.rank || $1 == group.rank } ?? false
    let streams = (0..<2).map { _ in
      HeapAllocator().allocate(
        count: isStreaming ? AllReduceBenchmark.streamBytes / 4 : 0, purpose: "message")
    }
    var samples: [[Double]] = []
    for number in 0...options.repeats {
      stallGuard.enter(step: number + 1, isFirst: number == 0)
      let own = try timeExchange(optimizer)
      let library = try timeLibrary(buffer)
      if number == 0 {
        try Agreement(group).run {
          try checkSums(optimizer)
          try check(UnsafeMutableBufferPointer(start: buffer.pointer, count: buffer.count), at: 0)
        }
      }
      let oneWay = try timeStream(streams, bothWays: false)
      let bothWays = try timeStream(streams, bothWays: true)
      let slowest = try group.allReduceMaximum([own, library, oneWay, bothWays])
      if number > 0 { samples.append(slowest) }
    }
    return report(samples, hosts: hostCount)
  }

  private func report(_ samples: [[Double]], hosts: Int) -> Report {
    func median(_ index: Int) -> Double {
      samples.map { $0[index] }.sorted()[samples.count / 2]
    }
    let streamed = Double(AllReduceBenchmark.streamBytes) / 1e6
    let goodputs = streamRanks.map { _ in (streamed / median(2), streamed / median(3)) }
    let (own, library) = (median(0) * 1e3, median(1) * 1e3)
    var bound: Double?
    if let goodputs {
      let rate = options.linkGbit.map { $0 * 1e3 / 8 } ?? goodputs.0
      let crossing =
        2 * Double(hosts - 1) / Double(hosts) * Double(options.bytes)
        * (exchange.wire == .bfloat16 ? 0.5 : 1)
      bound = crossing / 1e6 / rate * 1e3
    }
    return Report(
      bytes: options.bytes, bucketBytes: exchange.bucketBytes, ranks: group.worldSize,
      hosts: hosts, wire: options.wire, milliseconds: own, mpiMilliseconds: library,
      boundMilliseconds: bound, ratioToMpi: own / library,
      ratioToBound: bound.map { own / $0 }, goodputMegabytesPerSecond: goodputs?.0,
      goodputBothWaysMegabytesPerSecond: goodputs?.1)
  }

  // MARK: What is timed

  /// Seconds of the product's own exchange.
  private func timeExchange(_ optimizer: DistributedOptimizer) throws -> Double {
    optimizer.beginStep()
    optimizer.beginMicroBatch(0)
    for entry in optimizer.tree.entries.reversed() {
      let parameter = entry.parameter
      optimizer.sink.accumulate(parameter) { gradient, _ in
        fill(UnsafeMutableBufferPointer(start: gradient, count: parameter.count), parameter.offset)
      }
      optimizer.sink.didComplete(parameter)
    }
    try optimizer.endMicroBatch()
    try group.barrier()
    let started = now
    try optimizer.finishExchange()
    // Other ranks of the host have sums of theirs.
    try optimizer.hostBarrier()
    return now - started
  }

  /// Seconds of `MPI_Allreduce`.
  private func timeLibrary(_ buffer: Storage) throws -> Double {
    let values = UnsafeMutableBufferPointer(start: buffer.pointer, count: buffer.count)
    fill(values, 0)
    try group.barrier()
    let started = now
    try group.allReduceSum(values)
    return now - started
  }

  /// Seconds of a message between two hosts; 0 on ranks that have no part in it.
  private func timeStream(_ memory: [Storage], bothWays: Bool) throws -> Double {
    guard let streamRanks else { return 0 }
    try group.barrier()
    let started = now
    let (first, second) = streamRanks
    guard group.rank == first || group.rank == second else { return 0 }
    let peer = group.rank == first ? second : first
    var transfers: [any Transfer] = []
    if bothWays || group.rank == second {
      transfers.append(try group.startReceive(bytes(of: memory[0]), from: peer, tag: 0))
    }
    if bothWays || group.rank == first {
      transfers.append(
        try group.startSend(UnsafeRawBufferPointer(bytes(of: memory[1])), to: peer, tag: 0))
    }
    for transfer in transfers { while !(try transfer.isComplete()) { sched_yield() } }
    return now - started
  }

  private func bytes(of memory: Storage) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      UnsafeMutableBufferPointer(start: memory.pointer, count: memory.count))
  }

  private var now: Double { ProcessInfo.processInfo.systemUptime }

  // MARK: Values

  /// Parameters of `bytes` together.
  private func makeTree() -> ParameterTree {
    let tree = ParameterTree()
    for (number, start) in stride(
      from: 0, to: options.bytes, by: AllReduceBenchmark.pieceBytes
    ).enumerated() {
      let bytes = min(AllReduceBenchmark.pieceBytes, options.bytes - start)
      _ = tree.add("piece.\(number)", [bytes / 4], .constant(0))
    }
    return tree
  }

  /// - Parameter place: Of the first value in the whole buffer.
  private func fill(_ values: UnsafeMutableBufferPointer<Float>, _ place: Int) {
    var index = 0
    while index < values.count {
      let part = pattern[((place + index) % pattern.count)...].prefix(values.count - index)
      _ = values[index...].update(fromContentsOf: part)
      index += part.count
    }
  }

  private func checkSums(_ optimizer: DistributedOptimizer) throws(CollectiveError) {
    let sums = optimizer.gradientSums
    for entry in optimizer.tree.entries {
      let start = entry.parameter.offset
      for range in sums.ranges {
        let part = range.clamped(to: start..<start + entry.parameter.count)
        guard !part.isEmpty else { continue }
        try check(
          UnsafeMutableBufferPointer(
            start: sums.pointer(at: part.lowerBound), count: part.count), at: part.lowerBound)
      }
    }
  }

  private func check(
    _ values: UnsafeMutableBufferPointer<Float>, at place: Int
  ) throws(CollectiveError) {
    for (index, rotated) in zip(values.indices, place...) {
      let expected = patternOfSums[rotated % AllReduceBenchmark.patternCount]
      guard values[index] == expected else {
        throw CollectiveError(
          operation: "bench allreduce",
          reason: "the sum at place \(rotated) is \(values[index]), and \(expected) is right")
      }
    }
  }
}
