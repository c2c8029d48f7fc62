import Glibc
import Testing

@testable import MPI

/// All tests of the module. They run one after the other: collectives must come in the same order
/// on all ranks, and MPI is initialized for one thread at a time.
///
/// `swift test` runs them on one rank, `Scripts/test-mpi` on several.
@Suite(.serialized) enum MPISuite {
  static let runtime: Result<MPIRuntime, any Error> = Result {
    let runtime = try MPIRuntime.initialize()
    // mpirun calls a rank that ends without it failed.
    atexit { try? MPISuite.runtime.get().finalize() }
    return runtime
  }

  /// Runs a check on all kinds of communicators, each with the library's limit of counts and with
  /// one that cuts almost every buffer.
  static func withCommunicators(_ body: (MPICommunicator) throws -> Void) throws {
    let runtime = try runtime.get()
    let world = runtime.world
    try body(runtime.alone)
    try body(world)
    try body(world.duplicate())
    try body(world.duplicate(countLimit: 3))
    let parity = try #require(try world.split(color: world.rank % 2))
    try body(parity)
    try body(parity.duplicate(countLimit: 5))
    try body(#require(try world.split(color: 0, key: -world.rank)))
    try body(world.splitByHost())
    try world.barrier()
  }

  /// A value that differs between ranks and elements, exact in every element type and in sums.
  static func value(rank: Int, _ index: Int) -> Int { (rank * 7 + index * 3) % 23 }

  static let counts = [0, 1, 2, 3, 7, 64, 1000]
}

extension MPISuite {
  @Suite struct RuntimeTests {
    @Test func isInitializedOnce() throws {
      let runtime = try MPISuite.runtime.get()
      #expect(try MPIRuntime.initialize() === runtime)
      #expect(runtime.threadLevel >= .serialized)
      #expect(runtime.alone.size == 1 && runtime.alone.rank == 0)
      #expect((0..<runtime.world.size).contains(runtime.world.rank))
      #expect(try !runtime.processorName.isEmpty)
      #expect(try runtime.libraryVersion.contains("MPI"))
    }

    @Test func splitsAreRankedByKey() throws {
      let world = try MPISuite.runtime.get().world
      let reversed = try #require(try world.split(color: 0, key: -world.rank))
      #expect(reversed.size == world.size && reversed.rank == world.size - 1 - world.rank)
      let even = try world.split(color: world.rank % 2 == 0 ? 1 : nil)
      #expect((even != nil) == (world.rank % 2 == 0))
      if let even { #expect(even.size == (world.size + 1) / 2) }
      let host = try world.splitByHost()
      #expect(host.size >= 1 && host.size <= world.size)
    }

    @Test func errorsAreReturnedWithTheirText() throws {
      let world = try MPISuite.runtime.get().world
      var values: [Float] = [1]
      let error = #expect(throws: MPIError.self) {
        try values.withUnsafeMutableBufferPointer { try world.broadcast($0, root: world.size) }
      }
      #expect(error?.code == .root)
      #expect(error?.rank == world.rank)
      #expect(error?.description.hasPrefix("rank \(world.rank): MPI_Bcast failed: ") == true)
      let logical = #expect(throws: MPIError.self) {
        try values.withUnsafeMutableBufferPointer { try world.allReduce($0, .logicalAnd) }
      }
      #expect(logical?.code == .operation)
      #expect(values == [1])
    }
  }
}
