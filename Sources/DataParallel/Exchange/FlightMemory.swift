import TensorCore

/// Memory of messages between hosts: the pieces of a step's buckets taking off and landing one after
/// the other, as many under way as `GradientExchange` allows.
struct FlightMemory {
  private(set) var roundingErrorBytes = 0
  var stagingBytes: Int { staging.writtenBytes }

  private let staging = MemoryPool(countsOnly: true)
  private let plan: ExchangePlan
  private let rounds: Bool

  init(_ plan: ExchangePlan, _ options: ExchangeOptions) {
    self.plan = plan
    rounds = options.wire == .bfloat16
    var flights: [(piece: [ExchangePlan.Slice], memory: [Storage])] = []
    for bucket in plan.buckets.indices {
      if options.kind == .mpi {
        _ = staging.storage(count: plan.buckets[bucket].range.count)
      } else if plan.topology.hosts.count > 1 {
        for piece in plan.pieces[bucket] {
          flights.append((piece, piece.flatMap { reduce($0) }))
          guard flights.count == GradientExchange.flightLimit else { continue }
          // Its parts are dropped before its sums are sent back; the others have theirs still.
          let oldest = flights.removeFirst().piece
          if plan.sharding == .none { _ = oldest.map { gather($0) } }
        }
      }
    }
  }

  /// What a slice takes until it has been added up.
  private mutating func reduce(_ slice: ExchangePlan.Slice) -> [Storage] {
    guard plan.carries(slice) else { return [] }
    let own = plan.partCount(of: slice, onHost: plan.host)
    guard plan.owns(slice) else {
      if rounds { roundingErrorBytes += own * MemoryLayout<Float>.stride }
      return [staging.storage(count: own)] + rounded(own)
    }
    let others = plan.topology.hosts.indices.filter { $0 != plan.host }
    return [staging.storage(count: own)]
      + others.map { plan.partCount(of: slice, onHost: $0) }
      .flatMap { [staging.storage(count: $0)] + rounded($0) }
  }

  /// What it takes while its sum is sent back.
  private mutating func gather(_ slice: ExchangePlan.Slice) -> [Storage] {
    guard plan.carries(slice) else { return [] }
    if rounds, plan.owns(slice) {
      roundingErrorBytes += slice.range.count * MemoryLayout<Float>.stride
    }
    return rounded(slice.range.count)
  }

  private func rounded(_ count: Int) -> [Storage] {
    rounds ? [staging.storage(count: WireBuffers.roundedCount(count))] : []
  }
}
