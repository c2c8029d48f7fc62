import DataParallel
import Foundation
import Interfaces
import NN

/// The memory that a run takes, by kind; `bench step` does without the copy for checkpoints. Nothing
/// is computed.
struct MemoryPlan: Sendable {
  struct Options: Sendable {
    var model: String
    var hosts: Int
    var ranksPerHost: Int
    /// Images of one forward and backward.
    var microBatch: Int
    /// Micro-batches of a rank in one step.
    var accumulation: Int
    var imageSize: Int
    var threads: Int
    /// `section.key=value` of a run's configuration.
    var overrides: [String]
  }

  /// Bytes of a kind. Ranks differ by little; hosts have equally many of them.
  struct Bytes: Encodable, Sendable, Equatable {
    /// Of the rank that has most, without what it shares.
    var perRank = 0
    /// What the ranks of a host have together, once.
    var sharedPerHost = 0
    /// Of the host that has most: its ranks and what they share.
    var perHost = 0
    /// Of all hosts.
    var total = 0
  }

  enum Kind: String, CaseIterable, CodingKeyRepresentable, Encodable, Sendable {
    case parameters, gradients, moments, bucketSlots, bucketStaging, roundingErrors
    case activations, images, checkpointCopy
    case code, mpi, blasBuffers, threadStacks
  }

  /// Memory by kind.
  let memory: [Kind: Bytes]
  /// Over all kinds.
  let sum: Bytes

  /// - Throws: Where the options describe no run.
  static func make(_ options: Options) throws(ConfigurationError) -> MemoryPlan {
    let ranks = options.hosts * options.ranksPerHost
    guard ranks <= 4096 else {
      throw ConfigurationError("--ranks-per-host", "makes \(ranks) ranks; at most 4096 are planned")
    }
    let batch = options.microBatch * options.accumulation
    let setup = try BenchmarkSetup(
      model: options.model, imageSize: options.imageSize, threads: options.threads,
      overrides: options.overrides + [
        "parallelism.microBatchSize=\(options.microBatch)",
        "parallelism.globalBatchSize=\(batch * ranks)",
      ])
    try setup.requireShares(of: batch, ranks: ranks)
    return MemoryPlan(options, setup)
  }

  private init(_ options: Options, _ setup: BenchmarkSetup) {
    let tree = ParameterTree()
    let passes = ActivationMemory(
      setup, microBatch: options.microBatch, microBatches: options.accumulation, in: tree)
    let hosts = (0..<options.hosts * options.ranksPerHost).map { $0 / options.ranksPerHost }
    let exchange = ExchangeMemory.ofRanks(
      tree, setup.exchange, hosts: hosts, microBatches: options.accumulation)
    let runtime = RuntimeMemory(
      setup.cost, microBatch: options.microBatch, threads: options.threads)
    let shares = setup.exchange.sharesMemory
    let kinds: [(Kind, shared: Int, ofRank: (ExchangeMemory) -> Int)] = [
      (.parameters, shares ? exchange[0].parameters : 0, { shares ? 0 : $0.parameters }),
      (.gradients, 0, \.gradients), (.moments, 0, \.moments), (.bucketSlots, 0, \.slots),
      (.bucketStaging, 0, \.staging), (.roundingErrors, 0, \.roundingErrors),
      (.activations, 0, { _ in passes.activations }), (.images, 0, { _ in passes.images }),
      (.checkpointCopy, 0, { setup.copiesState ? $0.saved : 0 }),
      (.code, RuntimeMemory.sharedCode, { _ in RuntimeMemory.privateCode }),
      (.mpi, 0, { _ in hosts.count > 1 ? RuntimeMemory.mpi : 0 }),
      (.blasBuffers, 0, { _ in runtime.blas }), (.threadStacks, 0, { _ in runtime.threadStacks }),
    ]
    memory = Dictionary(
      uniqueKeysWithValues: kinds.map { kind, shared, ofRank in
        (kind, MemoryPlan.bytes(exchange.map(ofRank), shared: shared, options))
      })
    let ranks = exchange.map { rank in kinds.reduce(0) { $0 + $1.ofRank(rank) } }
    sum = MemoryPlan.bytes(ranks, shared: kinds.reduce(0) { $0 + $1.shared }, options)
  }

  private static func bytes(_ ranks: [Int], shared: Int, _ options: Options) -> Bytes {
    let hosts = (0..<options.hosts).map { host in
      ranks[host * options.ranksPerHost..<(host + 1) * options.ranksPerHost].reduce(shared, +)
    }
    return Bytes(
      perRank: ranks.max() ?? 0, sharedPerHost: shared, perHost: hosts.max() ?? 0,
      total: hosts.reduce(0, +))
  }

  /// A table in megabytes.
  static func lines(_ memory: [Kind: Bytes], _ sum: Bytes) -> [String] {
    let header = ["MB", "of a rank", "shared in host", "of a host", "of all hosts"]
    let rows = Kind.allCases.compactMap { kind -> [String]? in
      guard let bytes = memory[kind], bytes.total > 0 else { return nil }
      return [kind.rawValue] + MemoryPlan.megabytes(bytes)
    }
    return ([header] + rows + [["sum"] + MemoryPlan.megabytes(sum)]).map { row in
      row[0].padding(toLength: 16, withPad: " ", startingAt: 0)
        + row.dropFirst().map { String(repeating: " ", count: max(1, 15 - $0.count)) + $0 }
        .joined()
    }
  }

  private static func megabytes(_ bytes: Bytes) -> [String] {
    [bytes.perRank, bytes.sharedPerHost, bytes.perHost, bytes.total].map {
      String(format: "%.1f", Double($0) / 1e6)
    }
  }
}
