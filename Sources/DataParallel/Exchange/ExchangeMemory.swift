public import NN

/// Bytes that parameters, gradients and moments of one rank take, and what moves them.
///
/// Counted from what `DistributedOptimizer` is built from; nothing is allocated.
public struct ExchangeMemory: Sendable, Equatable {
  /// Of the host, where its ranks share them; else of each rank.
  public let parameters: Int
  public let sharesParameters: Bool
  /// All gradients, or the sums of the places that the rank updates; with partial sums.
  public let gradients: Int
  public let moments: Int
  /// Buckets of gradients that are being filled or added up, where they are sharded.
  public let slots: Int
  /// Copies for messages between hosts, at most: how many buckets are under way depends on time.
  public let staging: Int
  /// Rounding errors that are kept for the next step.
  public let roundingErrors: Int
  /// Parameters and moments that the rank writes to checkpoints.
  public let saved: Int

  /// Of each rank, in the order of ranks.
  ///
  /// - Parameters:
  ///   - hosts: A number for each rank, the same on one host, as in `ProcessGroup.hosts`.
  ///   - microBatches: Of a rank in a step.
  public static func ofRanks(
    _ tree: ParameterTree, _ options: ExchangeOptions, hosts: [Int], microBatches: Int
  ) -> [ExchangeMemory] {
    let topology = ExchangeLayout.topology(hosts: hosts, options)
    let layout = ExchangeLayout(
      for: tree, options, topology: topology, position: 0, microBatches: microBatches)
    return hosts.indices.map {
      ExchangeMemory(tree, options, layout.seen(from: topology.position(ofRank: $0)))
    }
  }

  private init(_ tree: ParameterTree, _ options: ExchangeOptions, _ layout: ExchangeLayout) {
    let float = MemoryLayout<Float>.stride
    let updated = layout.updated.reduce(0) { $0 + $1.count } * float
    let shared = HostMemory.bytes(tree, layout.buckets, options.sharding)
    let isSharded = options.sharding == .gradients
    parameters = shared.parameters
    sharesParameters = options.sharesMemory
    gradients =
      (isSharded ? 0 : shared.perRank) + layout.shards * updated
      + layout.partialSums * tree.flatCount * float
    moments = 2 * updated
    saved = 3 * layout.exchange.ownedRanges.reduce(0) { $0 + $1.count } * float
    slots = isSharded ? shared.perRank : 0
    guard
      ExchangeLayout.exchanges(worldSize: layout.exchange.topology.worldSize, options)
    else {
      (staging, roundingErrors) = (0, 0)
      return
    }
    let flights = FlightMemory(layout.exchange, options)
    staging = flights.stagingBytes
    roundingErrors = flights.roundingErrorBytes
  }
}
