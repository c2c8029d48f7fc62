import Testing

@testable import MPI

extension MPISuite {
  @Suite struct NonblockingTests {
    @Test(arguments: MPISuite.counts)
    func allReduceCompletesInWait(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        try withValues(communicator, count) { buffer in
          let request = try communicator.startAllReduce(buffer, .sum)
          try request.wait()
        }
      }
    }

    @Test(arguments: MPISuite.counts)
    func allReduceCompletesByTesting(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        try withValues(communicator, count) { buffer in
          var request = try communicator.startAllReduce(buffer, .sum)
          while try !request.test() {}
          #expect(try request.test())
          try request.wait()
        }
      }
    }

    @Test func severalMayBeUnderWay() throws {
      try MPISuite.withCommunicators { communicator in
        try withValues(communicator, 100) { first in
          try withValues(communicator, 7) { second in
            let one = try communicator.startAllReduce(first, .sum)
            let two = try communicator.startAllReduce(second, .sum)
            try two.wait()
            try one.wait()
          }
        }
      }
    }

    @Test func scopedFormReturnsWhatTheBodyReturns() throws {
      try MPISuite.withCommunicators { communicator in
        try withValues(communicator, 50) { buffer in
          let turns = try communicator.withAllReduce(buffer, .sum) {
            (request) throws(MPIError) in
            var turns = 1
            while try !request.test() { turns += 1 }
            return turns
          }
          #expect(turns >= 1)
        }
      }
    }

    @Test func scopedFormCompletesWhenTheBodyThrows() throws {
      try MPISuite.withCommunicators { communicator in
        try withValues(communicator, 50) { buffer in
          let failure = MPIError(.other, "body", "on purpose")
          let error = #expect(throws: MPIError.self) {
            try communicator.withAllReduce(buffer, .sum) { (_) throws(MPIError) in throw failure }
          }
          #expect(error == failure)
        }
      }
    }

    @Test func startReportsErrors() throws {
      let world = try MPISuite.runtime.get().world
      var values: [Float] = [1]
      #expect(throws: MPIError.self) {
        try values.withUnsafeMutableBufferPointer { buffer in
          let request = try world.startAllReduce(buffer, .logicalAnd)
          try request.wait()
        }
      }
    }

    @Test func droppedRequestTraps() async {
      await #expect(processExitsWith: .failure) {
        let request = MPIRequest([], "MPI_Iallreduce")
        _ = consume request
      }
    }

    /// Lends a row of numbers, and checks that it is the sum over ranks afterwards.
    private func withValues(
      _ communicator: MPICommunicator, _ count: Int,
      _ body: (UnsafeMutableBufferPointer<Double>) throws -> Void
    ) throws {
      var values = (0..<count).map { Double(MPISuite.value(rank: communicator.rank, $0)) }
      try values.withUnsafeMutableBufferPointer { try body($0) }
      let expected = (0..<count).map { index in
        (0..<communicator.size).reduce(0.0) { $0 + Double(MPISuite.value(rank: $1, index)) }
      }
      #expect(values == expected)
    }
  }
}
