import Glibc
import Interfaces
import Synchronization
import TensorCore

/// Where the gradients of a round are and where their sums go. Called by the thread that exchanges.
protocol GradientStore: AnyObject, Sendable {
  /// The first value of a bucket in the memory of a rank of this host.
  func source(bucket: Int, local: Int) -> UnsafeMutablePointer<Float>

  /// Takes the sums of a slice: for each root its tree over the sources, which begin at the slice.
  func deliver(
    _ slice: Range<Int>, _ trees: [SumTree], _ sources: [UnsafePointer<Float>], round: Round)

  /// The sum of a slice that was delivered, or its place, where every host gets all sums.
  func sum(_ slice: Range<Int>) -> UnsafeMutablePointer<Float>
}

/// One exchange of all buckets.
struct Round: Sendable {
  /// Ever increasing.
  let number: Int
  /// Which of a step's exchanges.
  let index: Int
  let isLast: Bool
}

/// What a value is on the links between hosts.
public enum Wire: String, Codable, Sendable, CaseIterable {
  case float32
  case bfloat16

  var byteCount: Int { self == .float32 ? 4 : 2 }
}

/// Adds up gradients over all ranks, bucket by bucket, on a thread of its own while backward goes
/// on.
///
/// In a host a slice's carrier reads the memory of all ranks and adds it up; between hosts the
/// carriers send what their host has to the slice's owner, which adds up that; and where every host
/// gets all sums, owners send them back. All in the one order of `ReductionOrder`.
///
/// Every byte crosses a link as often as in the best allreduce: 2 (H - 1) / H times the buffer for H
/// hosts. `bfloat16` rounds each of the two crossings once, sums stay Float.
final class GradientExchange: @unchecked Sendable {
  // Sendable: `queue` to `failure` are guarded by the mutex; everything else belongs to the
  // exchanging thread, or is constant.

  /// Shared counters: of the host's barrier, and of each bucket.
  enum Counter {
    static let barrier = 0
    static func ready(_ bucket: Int) -> Int { 1 + 3 * bucket }
    static func done(_ bucket: Int) -> Int { 2 + 3 * bucket }
    /// What a store has to tell others about a bucket.
    static func note(_ bucket: Int) -> Int { 3 + 3 * bucket }
    static func count(buckets: Int) -> Int { 1 + 3 * buckets }
  }

  /// Pieces under way at once: enough for the links while messages are announced and answered.
  static let flightLimit = 8

  let plan: ExchangePlan
  let counters: SharedCounters
  private let store: any GradientStore
  private let group: any ProcessGroup
  private let stallGuard: StallGuard
  let wire: WireBuffers
  /// For each bucket the number of its first piece.
  private let firstPieces: [Int]
  private let usesLibrary: Bool
  private let staging = MemoryPool()
  private let track: Timeline.Track?

  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var queue: [Round] = []
  /// Buckets that are complete here, of all rounds, in the order of backward: the same on all
  /// ranks, since they run the same operations.
  private var ready: [(bucket: Int, round: Int)] = []
  private var isBusy = false
  private var isStopping = false
  private var isAbandoned = false
  private var failure: CollectiveError?
  private var thread: pthread_t?

  /// - Parameter usesLibrary: The library's own allreduce over each bucket instead.
  init(
    _ plan: ExchangePlan, store: any GradientStore, counters: SharedCounters,
    group: any ProcessGroup, stallGuard: StallGuard, wire: Wire, usesLibrary: Bool,
    timeline: Timeline? = nil
  ) {
    track = timeline?.track("exchange")
    self.plan = plan
    self.store = store
    self.counters = counters
    self.group = group
    self.stallGuard = stallGuard
    self.usesLibrary = usesLibrary
    self.wire = WireBuffers(wire)
    firstPieces = plan.pieces.indices.map { plan.pieces[..<$0].reduce(0) { $0 + $1.count } }
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(changed, nil)
  }

  deinit {
    pthread_cond_destroy(changed)
    pthread_mutex_destroy(mutex)
    changed.deallocate()
    mutex.deallocate()
  }

  // MARK: The training thread

  /// Starts the thread. It lives until `stop`.
  func start() { thread = startThread { [self] in loop() } }

  func stop() {
    guard let thread else { return }
    locked { isStopping = true }
    pthread_join(thread, nil)
    self.thread = nil
  }

  /// Lets the thread exchange buckets as they become ready.
  func begin(_ round: Round) { locked { queue.append(round) } }

  /// The own gradients of a bucket are complete.
  func markReady(_ bucket: Int, _ round: Round) {
    counters.set(Counter.ready(bucket), of: plan.position - plan.local.lowerBound, to: round.number)
    locked { ready.append((bucket, round.number)) }
  }

  /// The own backward has failed: buckets come in another order here than on the other ranks.
  func abandon() { locked { isAbandoned = true } }

  /// Whether nobody of this host reads the bucket of a round any more.
  func isDone(_ bucket: Int, round: Int) -> Bool {
    counters.haveAll(Counter.done(bucket), reached: round)
  }

  /// Returns when all rounds are complete.
  func finish() throws(CollectiveError) {
    pthread_mutex_lock(mutex)
    while (isBusy || !queue.isEmpty) && failure == nil { pthread_cond_wait(changed, mutex) }
    let failure = self.failure
    isAbandoned = false
    pthread_mutex_unlock(mutex)
    if let failure { throw failure }
  }

  /// Throws what the thread has failed with.
  func throwFailure() throws(CollectiveError) {
    var failure: CollectiveError?
    locked { failure = self.failure }
    if let failure { throw failure }
  }

  /// Brings the parameters that their owners have updated to the other hosts.
  ///
  /// Collective. Blocking. While no round is under way.
  func gatherParameters(_ parameters: UnsafeMutablePointer<Float>) throws(CollectiveError) {
    guard plan.topology.hosts.count > 1 else { return }
    var transfers: [Message] = []
    for (bucket, slices) in plan.slices.enumerated() {
      for slice in slices {
        let memory = UnsafeMutableRawBufferPointer(
          UnsafeMutableBufferPointer(
            start: parameters + slice.range.lowerBound, count: slice.range.count))
        if plan.owns(slice) {
          for peer in plan.otherCarriers(of: slice) {
            transfers.append(try send(UnsafeRawBufferPointer(memory), to: peer, 2 * bucket + 1))
          }
        } else if plan.carries(slice) {
          transfers.append(try receive(memory, from: slice.owner, 2 * bucket + 1))
        }
      }
    }
    try complete(transfers, "gathering parameters")
  }

  private func complete(_ messages: [Message], _ operation: String) throws(CollectiveError) {
    var (waiting, waiter) = (messages, Waiter())
    while true {
      let count = waiting.count
      waiting = try GradientExchange.open(waiting)
      if waiting.isEmpty { return }
      if waiting.count < count {
        waiter.progress()
      } else if let seconds = waiter.pause(stallGuard) {
        throw stall(operation, seconds, missing: waiting.map(\.peer))
      }
    }
  }

  /// Those messages that are not complete.
  private static func open(_ messages: [Message]) throws(CollectiveError) -> [Message] {
    var waiting: [Message] = []
    for message in messages where !(try message.transfer.isComplete()) { waiting.append(message) }
    return waiting
  }

  /// Returns when all ranks of this host have come.
  func hostBarrier() throws(CollectiveError) {
    let own = plan.position - plan.local.lowerBound
    let number = counters.increment(Counter.barrier, of: own)
    var waiter = Waiter()
    while !counters.haveAll(Counter.barrier, reached: number) {
      if let seconds = waiter.pause(stallGuard) {
        throw stall(
          "barrier of a host", seconds,
          missing: counters.missing(Counter.barrier, below: number).map(position))
      }
    }
  }

  private func locked(_ body: () -> Void) {
    pthread_mutex_lock(mutex)
    body()
    pthread_cond_broadcast(changed)
    pthread_mutex_unlock(mutex)
  }

  // MARK: The exchanging thread

  private func loop() {
    while let round = nextRound() {
      var failure: CollectiveError?
      do throws(CollectiveError) {
        let reduction = usesLibrary ? reduceByLibrary : reduce
        try track.span("round", number: round.number) { () throws(CollectiveError) in
          try reduction(round)
        }
      } catch {
        failure = error
      }
      locked {
        isBusy = false
        self.failure = self.failure ?? failure
      }
      if failure != nil { return }
    }
  }

  private func nextRound() -> Round? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while queue.isEmpty {
      if isStopping { return nil }
      pthread_cond_wait(changed, mutex)
    }
    isBusy = true
    return queue.removeFirst()
  }

  private func reduce(_ round: Round) throws(CollectiveError) {
    var landed = 0
    var (waiting, flights): ([Int], [Flight]) = ([], [])
    // What is not under way yet of a bucket that is complete in this host.
    var grounded: [Flight] = []
    // Pieces of each bucket that have not landed.
    var open = plan.pieces.map(\.count)
    var waiter = Waiter()
    while landed < plan.buckets.count {
      waiting += try takeReady(round)
      let limit = flightLimit
      var progressed = false
      while grounded.isEmpty, let index = waiting.firstIndex(where: { isReadyInHost($0, round) }) {
        grounded = flightsOf(waiting.remove(at: index))
      }
      // One at a time: the library moves messages on between them.
      if !grounded.isEmpty, flights.count < limit {
        let flight = grounded.removeFirst()
        try track.span("add in host", number: flight.bucket) { () throws(CollectiveError) in
          try takeOff(flight, round)
        }
        flights.append(flight)
        progressed = true
      }
      for flight in flights where try advance(flight, round) { progressed = true }
      for flight in flights where flight.phase == .landed {
        track?.add("bucket", number: flight.bucket, from: flight.started, isInFlight: true)
        open[flight.bucket] -= 1
        guard open[flight.bucket] == 0 else { continue }
        land(flight.bucket, round)
        landed += 1
      }
      flights.removeAll { $0.phase == .landed }
      if progressed {
        waiter.progress()
      } else if waiting.isEmpty, flights.isEmpty {
        // Waiting for the own backward: no matter how long.
        waitForReady()
        waiter.progress()
      } else if let seconds = waiter.pause(stallGuard) {
        throw stall(waiting, flights, round, seconds)
      }
    }
  }

  /// None for a rank that has failed: it might wait with buckets that the others come to last.
  private var flightLimit: Int {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return isAbandoned ? .max : GradientExchange.flightLimit
  }

  private func isReadyInHost(_ bucket: Int, _ round: Round) -> Bool {
    counters.haveAll(Counter.ready(bucket), reached: round.number)
  }

  /// Buckets of a round that have become complete here.
  ///
  /// - Throws: Where the run is given up in the middle of a round.
  private func takeReady(_ round: Round) throws(CollectiveError) -> [Int] {
    var taken: [Int] = []
    // Not `locked`, which wakes the thread that waits in `finish`: this is called for every piece.
    pthread_mutex_lock(mutex)
    let isStopping = self.isStopping
    while let first = ready.first, first.round == round.number {
      taken.append(first.bucket)
      ready.removeFirst()
    }
    pthread_mutex_unlock(mutex)
    if isStopping { throw CollectiveError(operation: "sum of gradients", reason: "the run ends") }
    return taken
  }

  private func waitForReady() {
    pthread_mutex_lock(mutex)
    while ready.isEmpty, !isStopping { pthread_cond_wait(changed, mutex) }
    pthread_mutex_unlock(mutex)
  }

  private func reduceByLibrary(_ round: Round) throws(CollectiveError) {
    var open = Set(plan.buckets.indices)
    while let first = open.min() {
      // The library's sums have no tags. Ranks that have failed follow the others.
      let own = try nextReady(round) ?? -1
      let agreed = Int(try group.allReduceMaximum([Double(own)])[0])
      let bucket = agreed < 0 ? first : agreed
      try reduceByLibrary(bucket, round)
      open.remove(bucket)
    }
  }

  /// The next bucket of a round that becomes complete here; nil where this rank has failed.
  ///
  /// - Throws: Where the run is given up in the middle of a round.
  private func nextReady(_ round: Round) throws(CollectiveError) -> Int? {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while !isStopping, !isAbandoned, ready.first?.round != round.number {
      pthread_cond_wait(changed, mutex)
    }
    if isStopping { throw CollectiveError(operation: "sum of gradients", reason: "the run ends") }
    return isAbandoned ? nil : ready.removeFirst().bucket
  }

  private func reduceByLibrary(_ bucket: Int, _ round: Round) throws(CollectiveError) {
    let range = plan.buckets[bucket].range
    let sum = staging.storage(count: range.count)
    let own = store.source(bucket: bucket, local: plan.position - plan.local.lowerBound)
    sum.pointer.update(from: own, count: range.count)
    try track.span("allreduce", number: bucket) { () throws(CollectiveError) in
      try group.allReduceSum(UnsafeMutableBufferPointer(start: sum.pointer, count: range.count))
    }
    for slice in plan.slices[bucket]
    where plan.sharding == .none ? plan.carries(slice) : plan.owns(slice) {
      store.deliver(
        slice.range, [.leaf(0)],
        [UnsafePointer(sum.pointer + (slice.range.lowerBound - range.lowerBound))], round: round)
    }
    land(bucket, round)
  }

  /// A piece of a bucket on its way.
  private final class Flight {
    enum Phase { case reducing, gathering, landed }

    let bucket: Int
    let slices: [ExchangePlan.Slice]
    /// Its first message; the sums have the next one.
    let tag: Int
    let started = Timeline.now()
    var phase = Phase.reducing
    var messages: [Message] = []
    /// Memory of the messages, and what is done with what has come.
    var memory: [Storage] = []
    /// Of own slices: the sums of the blocks of each host.
    var parts: [Part: Storage] = [:]
    var arrivals: [() -> Void] = []

    init(_ bucket: Int, _ slices: [ExchangePlan.Slice], tag: Int) {
      self.bucket = bucket
      self.slices = slices
      self.tag = tag
    }

    struct Part: Hashable {
      /// Where the slice begins.
      let slice: Int
      let host: Int
    }
  }

  private struct Message {
    let transfer: any Transfer
    /// Position.
    let peer: Int
  }

  private func flightsOf(_ bucket: Int) -> [Flight] {
    plan.pieces[bucket].enumerated().map { number, slices in
      Flight(bucket, slices, tag: 2 * (firstPieces[bucket] + number))
    }
  }

  /// Adds up what this host has, and sends it to the owners.
  private func takeOff(_ flight: Flight, _ round: Round) throws(CollectiveError) {
    let bucket = flight.bucket
    let base = plan.buckets[bucket].range.lowerBound
    let memory = plan.local.indices.map {
      store.source(bucket: bucket, local: $0 - plan.local.lowerBound)
    }
    let trees = plan.localTrees
    for slice in flight.slices where plan.carries(slice) {
      let sources = memory.map { UnsafePointer($0 + (slice.range.lowerBound - base)) }
      if plan.topology.hosts.count == 1 {
        store.deliver(slice.range, trees, sources, round: round)
        continue
      }
      let count = slice.range.count
      let partCount = plan.partCount(of: slice, onHost: plan.host)
      let part = staging.storage(count: partCount)
      for (index, tree) in trees.enumerated() {
        TreeSumKernel.sum(tree, of: sources, into: part.pointer + index * count, count: count)
      }
      if plan.owns(slice) {
        flight.parts[.init(slice: slice.range.lowerBound, host: plan.host)] = part
        try receiveParts(of: slice, flight)
      } else {
        let bytes = wire.encode(part, count: partCount, residual: .part(slice.range), staging)
        flight.memory.append(bytes.storage)
        flight.messages.append(
          try send(UnsafeRawBufferPointer(bytes.bytes), to: slice.owner, flight.tag))
      }
    }
  }

  private func receiveParts(
    of slice: ExchangePlan.Slice, _ flight: Flight
  ) throws(CollectiveError) {
    for host in plan.topology.hosts.indices where host != plan.host {
      let count = plan.partCount(of: slice, onHost: host)
      let part = staging.storage(count: count)
      flight.parts[.init(slice: slice.range.lowerBound, host: host)] = part
      let bytes = wire.memory(for: part, count: count, staging)
      flight.memory.append(bytes.storage)
      flight.arrivals.append { [wire] in wire.decode(bytes, into: part, count: count) }
      flight.messages.append(
        try receive(bytes.bytes, from: slice.carriers[host], flight.tag))
    }
  }

  /// - Returns: Whether something has happened.
  private func advance(_ flight: Flight, _ round: Round) throws(CollectiveError) -> Bool {
    let waiting = try GradientExchange.open(flight.messages)
    let progressed = waiting.count < flight.messages.count
    flight.messages = waiting
    guard waiting.isEmpty else { return progressed }
    for arrival in flight.arrivals { arrival() }
    flight.arrivals = []
    flight.memory = []
    if flight.phase == .reducing {
      combine(flight, round)
      if plan.sharding == .none, plan.topology.hosts.count > 1 {
        try spread(flight)
        flight.phase = .gathering
        return true
      }
    }
    flight.phase = .landed
    return true
  }

  /// Adds up the parts of the own slice.
  private func combine(_ flight: Flight, _ round: Round) {
    guard plan.topology.hosts.count > 1 else { return }
    let started = Timeline.now()
    defer { track?.add("add hosts", number: flight.bucket, from: started) }
    for slice in flight.slices where plan.owns(slice) {
      let sources = plan.topology.hosts.indices.flatMap { host in
        plan.blocks[host].indices.compactMap { block in
          flight.parts[.init(slice: slice.range.lowerBound, host: host)].map {
            UnsafePointer($0.pointer + block * slice.range.count)
          }
        }
      }
      store.deliver(slice.range, plan.trees, sources, round: round)
    }
    flight.parts = [:]
  }

  /// Sends the own sums to the carriers on other hosts, and receives theirs.
  private func spread(_ flight: Flight) throws(CollectiveError) {
    let tag = flight.tag + 1
    for slice in flight.slices where plan.carries(slice) {
      let count = slice.range.count
      let sum = Storage.borrowed(store.sum(slice.range), count)
      if plan.owns(slice) {
        let bytes = wire.encode(sum, count: count, residual: .sum(slice.range), staging)
        flight.memory.append(bytes.storage)
        // The owner, too, goes on with what the others get.
        wire.decode(bytes, into: sum, count: count)
        for peer in plan.otherCarriers(of: slice) {
          flight.messages.append(try send(UnsafeRawBufferPointer(bytes.bytes), to: peer, tag))
        }
      } else {
        let bytes = wire.memory(for: sum, count: count, staging)
        flight.memory.append(bytes.storage)
        flight.arrivals.append { [wire] in wire.decode(bytes, into: sum, count: count) }
        flight.messages.append(try receive(bytes.bytes, from: slice.owner, tag))
      }
    }
  }

  private func land(_ bucket: Int, _ round: Round) {
    counters.set(Counter.done(bucket), of: plan.position - plan.local.lowerBound, to: round.number)
  }

  // MARK: Messages

  private func send(
    _ bytes: UnsafeRawBufferPointer, to position: Int, _ tag: Int
  ) throws(CollectiveError) -> Message {
    let rank = plan.topology.ranks[position]
    return Message(transfer: try group.startSend(bytes, to: rank, tag: tag), peer: position)
  }

  private func receive(
    _ bytes: UnsafeMutableRawBufferPointer, from position: Int, _ tag: Int
  ) throws(CollectiveError) -> Message {
    let rank = plan.topology.ranks[position]
    return Message(transfer: try group.startReceive(bytes, from: rank, tag: tag), peer: position)
  }

  private func position(_ local: Int) -> Int { plan.local.lowerBound + local }

  private func stall(
    _ waiting: [Int], _ flights: [Flight], _ round: Round, _ seconds: Double
  ) -> CollectiveError {
    let peers =
      flights.first.map { $0.messages.map(\.peer) }
      ?? waiting.first.map {
        counters.missing(Counter.ready($0), below: round.number).map(position)
      }
    let bucket = flights.first?.bucket ?? waiting.first ?? 0
    return stall("sum of gradients, bucket \(bucket)", seconds, missing: peers ?? [])
  }

  private func stall(
    _ operation: String, _ seconds: Double, missing positions: [Int]
  ) -> CollectiveError {
    .stall(
      operation: operation, place: stallGuard.place, seconds: seconds,
      missing: Set(positions.map { plan.topology.ranks[$0] }).sorted(),
      isOneHost: plan.topology.hosts.count == 1)
  }
}
