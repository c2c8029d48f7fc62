import Glibc
import Interfaces
import MPI
import Synchronization
import Testing

@testable import DataParallel

/// The three process groups, by one set of checks.
@Suite(.serialized) struct ProcessGroupTests {
  @Test func singleProcess() throws {
    try checkGroup(SingleProcessGroup())
    try checkMemory(SingleProcessGroup())
    try checkNotice(SingleProcessGroup(), from: 0)
  }

  @Test(arguments: [[0, 0, 1], [0, 1, 0, 1], [0, 1, 2]])
  func threadsOnHosts(hosts: [Int]) throws {
    try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) { group in
      try checkMemory(group)
      try checkGroup(group)
    }
  }

  @Test(arguments: 1...5)
  func threads(count: Int) throws {
    let ranks = try ThreadProcessGroup.run(count: count) { group in
      for _ in 0..<20 { try checkGroup(group) }
      try checkMemory(group)
      try checkNotice(group, from: count - 1)
      return group.rank
    }
    #expect(ranks == Array(0..<count))
  }

  /// Started by mpirun only: elsewhere a second suite of the process may be using MPI.
  @Test(.enabled(if: getenv("OMPI_COMM_WORLD_SIZE") != nil, "run by Scripts/test-mpi"))
  func mpi() throws {
    let runtime = try MPIRuntime.initialize()
    // mpirun calls a rank that ends without it failed.
    atexit { try? MPIRuntime.initialize().finalize() }
    let world = try MPIProcessGroup(communicator: runtime.world)
    try checkGroup(world)
    try checkMemory(world)
    try checkGroup(try MPIProcessGroup(communicator: runtime.world.splitByHost()))
    try checkGroup(try MPIProcessGroup(communicator: runtime.alone))
    let error = #expect(throws: CollectiveError.self) {
      try world.broadcast(UnsafeMutableRawBufferPointer(start: nil, count: 0), root: -1)
    }
    #expect(error?.description.hasPrefix("broadcast failed: rank \(world.rank): ") == true)
    // Of a group that is closed with its messages looked at, and of others whose messages nobody has
    // received when MPI ends.
    for hasLooked in [true, false] {
      let group = try MPIProcessGroup(communicator: runtime.world.duplicate())
      if hasLooked {
        try checkNotice(group, from: group.worldSize - 1)
      } else {
        group.notifyAll()
        group.notifyAll()
        #expect(group.isNotified)
      }
      try group.barrier()
      try group.close()
    }
    try checkNoticeBesideCollectives(try MPIProcessGroup(communicator: runtime.world.duplicate()))
    try world.close()
  }
}

/// What only threads do: in rank order, and without hanging when one of them is gone.
@Suite struct ThreadProcessGroupTests {
  @Test func sumsAreInRankOrder() throws {
    let count = 1001
    let rows = (0..<4).map { rank in (0..<count).map { 1 / Float(3 + rank * 17 + $0) } }
    let sums = try ThreadProcessGroup.run(count: 4) { group in
      var values = rows[group.rank]
      try values.withUnsafeMutableBufferPointer { try group.allReduceSum($0) }
      return values
    }
    let expected = (0..<count).map { ((rows[0][$0] + rows[1][$0]) + rows[2][$0]) + rows[3][$0] }
    #expect(sums.allSatisfy { $0 == expected })
  }

  private struct Failure: Error, Equatable {
    let rank: Int
  }

  @Test func errorOfOneRankReachesTheCaller() {
    #expect(throws: Failure(rank: 1)) {
      try ThreadProcessGroup.run(count: 4) { group in
        try group.barrier()
        if group.rank == 1 { throw Failure(rank: 1) }
        try group.barrier()
      }
    }
  }

  @Test func earlyEndOfOneRankIsToldToTheOthers() {
    let reasons = ThreadProcessGroup.run(count: 3) { group -> String in
      if group.rank == 2 { return "" }
      for _ in 0..<2 {
        let error = #expect(throws: CollectiveError.self) { _ = try group.allGather([1]) }
        #expect(error?.operation == "allGather")
      }
      do {
        try group.barrier()
        return "nothing was thrown"
      } catch {
        return "\(error)"
      }
    }
    let expected = [0, 1].map { rank in
      ["rank 2 has ended already", "rank \(1 - rank) has ended already"]
    }
    for rank in [0, 1] {
      #expect(expected[rank].contains { reasons[rank] == "barrier failed: \($0)" })
    }
  }

  @Test func differentCallsAreErrorsOnAllRanks() throws {
    let texts = try ThreadProcessGroup.run(count: 3) { group -> [String] in
      var texts: [String] = []
      do { _ = try group.allGather(Array(repeating: 0, count: 5 + group.rank / 2)) } catch {
        texts.append("\(error)")
      }
      do {
        if group.rank == 1 { try group.barrier() } else { _ = try group.allGather([]) }
      } catch {
        texts.append("\(error)")
      }
      // The group is still of use.
      try checkGroup(group)
      return texts
    }
    for (rank, texts) in texts.enumerated() {
      #expect(texts.count == 2)
      #expect(
        texts.first
          == "allGather failed: rank 0 calls allGather of 5 bytes, and rank 2 allGather of 6 bytes")
      #expect(texts.last?.hasPrefix(rank == 1 ? "barrier" : "allGather") == true)
    }
  }
}

/// A notice of one rank reaches all, without any of them waiting for it.
private func checkNotice(_ group: any ProcessGroup, from rank: Int) throws {
  #expect(!group.isNotified)
  try group.barrier()
  if group.rank == rank {
    group.notifyAll()
    #expect(group.isNotified)
  }
  for _ in 0..<100_000 where !group.isNotified { usleep(100) }
  #expect(group.isNotified)
  try group.barrier()
  group.notifyAll()
  #expect(group.isNotified)
}

/// Another thread of each rank is in collectives meanwhile, of which some block in the library.
private func checkNoticeBesideCollectives(_ group: MPIProcessGroup) throws {
  let failures = Mutex<[String]>([])
  let thread = try #require(
    BesideThread {
      do {
        for _ in 0..<100 { try checkSums(group, 3000) }
      } catch {
        failures.withLock { $0.append("\(error)") }
      }
    })
  if group.rank == 0 { group.notifyAll() }
  for _ in 0..<200_000 where !group.isNotified { usleep(50) }
  #expect(group.isNotified)
  thread.join()
  #expect(failures.withLock { $0 }.isEmpty)
  try group.close()
}

private final class BesideThread {
  private var thread = pthread_t()

  init?(_ body: @escaping @Sendable () -> Void) {
    final class Body: Sendable {
      let run: @Sendable () -> Void
      init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
    let status = pthread_create(
      &thread, nil,
      { raw in
        if let raw { Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run() }
        return nil
      }, Unmanaged.passRetained(Body(body)).toOpaque())
    if status != 0 { return nil }
  }

  func join() { pthread_join(thread, nil) }
}

/// Every collective of the protocol against what it must give. Called by all ranks.
private func checkGroup(_ group: any ProcessGroup) throws {
  #expect((0..<group.worldSize).contains(group.rank))
  try group.barrier()
  for count in [0, 1, 3, 1000] {
    try checkSums(group, count)
    try checkMaximum(group, count)
    try checkBytes(group, count)
  }
  try checkSameBits(group)
  try checkMessages(group)
}

/// What only groups of which ranks share memory can be asked for.
private func checkMemory(_ group: any ProcessGroup) throws {
  let neighbours = group.hosts.indices.filter { group.hosts[$0] == group.hosts[group.rank] }
  let size = { (rank: Int) in 100 + 4096 * rank }
  let memory = try group.shareMemory(byteCount: size(group.rank), purpose: "test")
  #expect(memory.regions.count == neighbours.count)
  let own = try #require(neighbours.firstIndex(of: group.rank))
  for (region, rank) in zip(memory.regions, neighbours) {
    #expect(region.count >= size(rank) && region.prefix(size(rank)).allSatisfy { $0 == 0 })
    #expect(UInt(bitPattern: region.baseAddress) % 64 == 0)
  }
  try group.barrier()
  memory.regions[own][size(group.rank) - 1] = UInt8(group.rank + 1)
  try group.barrier()
  for (region, rank) in zip(memory.regions, neighbours) {
    #expect(region[size(rank) - 1] == UInt8(rank + 1))
  }
  try group.barrier()
}

/// Several messages of one tag at once, of different sizes: the first that was sent is the first
/// that was asked for, however often which of them is looked at.
private func checkMessages(_ group: any ProcessGroup) throws {
  guard group.worldSize > 1 else { return }
  let (rank, size) = (group.rank, group.worldSize)
  let (next, last) = ((rank + 1) % size, (rank + size - 1) % size)
  let counts = [3, 1, 0, 1000, 5]
  let sent = counts.map { count in (0..<count).map { UInt8(truncatingIfNeeded: $0 + rank) } }
  let memory = counts.map {
    UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * $0, alignment: 1)
  }
  defer { for memory in memory { memory.deallocate() } }
  var receives: [any Transfer] = []
  for (memory, count) in zip(memory, counts) {
    let place = UnsafeMutableRawBufferPointer(rebasing: memory[count...])
    receives.append(try group.startReceive(place, from: last, tag: 3))
  }
  // Nothing has been sent yet by anybody.
  for receive in receives.reversed() { #expect(try !receive.isComplete()) }
  try group.barrier()
  var sends: [any Transfer] = []
  for (memory, row) in zip(memory, sent) {
    memory.copyBytes(from: row)
    let bytes = UnsafeRawBufferPointer(rebasing: memory[..<row.count])
    sends.append(try group.startSend(bytes, to: next, tag: 3))
  }
  // The last one first.
  for transfer in receives.reversed() + sends { while try !transfer.isComplete() { sched_yield() } }
  for (memory, count) in zip(memory, counts) {
    let expected = (0..<count).map { UInt8(truncatingIfNeeded: $0 + last) }
    #expect(Array(memory[count...]) == expected)
  }
  try group.barrier()
}

private func value(_ rank: Int, _ index: Int) -> Int { (rank * 7 + index * 3) % 23 - 11 }

private func checkSums(_ group: any ProcessGroup, _ count: Int) throws {
  let expected = (0..<count).map { index in
    (0..<group.worldSize).map { value($0, index) }.reduce(0, +)
  }
  var floats = (0..<count).map { Float(value(group.rank, $0)) }
  try floats.withUnsafeMutableBufferPointer { try group.allReduceSum($0) }
  #expect(floats == expected.map { Float($0) })
  var doubles = (0..<count).map { Double(value(group.rank, $0)) }
  try doubles.withUnsafeMutableBufferPointer { try group.allReduceSum($0) }
  #expect(doubles == expected.map { Double($0) })
}

private func checkMaximum(_ group: any ProcessGroup, _ count: Int) throws {
  let values = (0..<count).map { Double(value(group.rank, $0)) }
  let expected = (0..<count).map { index in
    (0..<group.worldSize).map { Double(value($0, index)) }.max()
  }
  #expect(try group.allReduceMaximum(values) == expected)
  // One rank's NaN is seen by all, whatever its place.
  for rank in 0..<group.worldSize {
    let result = try group.allReduceMaximum([group.rank == rank ? .nan : 1])
    #expect(result[0].isNaN)
  }
}

private func checkBytes(_ group: any ProcessGroup, _ count: Int) throws {
  let rows = (0..<group.worldSize).map { rank in
    (0..<count).map { UInt8(truncatingIfNeeded: value(rank, $0)) }
  }
  #expect(try group.allGather(rows[group.rank]) == rows.flatMap { $0 })
  for root in 0..<group.worldSize {
    var bytes = rows[group.rank]
    try bytes.withUnsafeMutableBytes { try group.broadcast($0, root: root) }
    #expect(bytes == rows[root])
  }
}

/// Sums that are not exact must still agree between ranks to the last bit.
private func checkSameBits(_ group: any ProcessGroup) throws {
  var values = (0..<5000).map { 1 / Float(3 + $0 + group.rank * 11) }
  try values.withUnsafeMutableBufferPointer { try group.allReduceSum($0) }
  var ofRoot = values
  try ofRoot.withUnsafeMutableBytes { try group.broadcast($0, root: 0) }
  #expect(values == ofRoot)
}
