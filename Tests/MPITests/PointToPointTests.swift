import Testing

@testable import MPI

extension MPISuite {
  @Suite struct PointToPointTests {
    @Test(arguments: MPISuite.counts)
    func sendReceiveGoesRoundTheRing(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        let (rank, size) = (communicator.rank, communicator.size)
        let own = row(rank, count)
        var received = [Int64](repeating: -1, count: count)
        try own.withUnsafeBufferPointer { own in
          try received.withUnsafeMutableBufferPointer {
            try communicator.sendReceive(
              own, to: (rank + 1) % size, into: $0, from: (rank + size - 1) % size, tag: 4)
          }
        }
        #expect(received == row((rank + size - 1) % size, count))
      }
    }

    @Test(arguments: MPISuite.counts)
    func everyRankReachesEveryOther(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        for sender in 0..<communicator.size {
          for receiver in 0..<communicator.size where receiver != sender {
            if communicator.rank == sender {
              try row(sender, count).withUnsafeBufferPointer {
                try communicator.send($0, to: receiver, tag: receiver)
              }
            } else if communicator.rank == receiver {
              var received = [Int64](repeating: -1, count: count)
              try received.withUnsafeMutableBufferPointer {
                try communicator.receive(into: $0, from: sender, tag: receiver)
              }
              #expect(received == row(sender, count))
            }
          }
        }
      }
    }

    /// A message to oneself, which is small enough to be buffered.
    @Test func wrongLengthsAreErrors() throws {
      let alone = try MPISuite.runtime.get().alone
      for (sent, expected, code) in [(3, 4, MPIError.Code.count), (4, 3, .truncated)] {
        var received = [Int64](repeating: -1, count: expected)
        try row(0, sent).withUnsafeBufferPointer { try alone.send($0, to: 0) }
        let error = #expect(throws: MPIError.self) {
          try received.withUnsafeMutableBufferPointer { try alone.receive(into: $0, from: 0) }
        }
        #expect(error?.code == code)
      }
    }

    /// A request that has failed need not be waited for, and cannot be.
    @Test func aFailedTestEndsTheRequest() throws {
      let alone = try MPISuite.runtime.get().alone
      var received = [UInt8](repeating: 0, count: 3)
      try row(0, 4).withUnsafeBufferPointer { try alone.send($0, to: 0) }
      #expect(throws: MPIError.self) {
        try received.withUnsafeMutableBytes { bytes in
          var request = try alone.startReceive(into: bytes, from: 0)
          while !(try request.test()) {}
          try request.wait()
        }
      }
    }

    private func row(_ rank: Int, _ count: Int) -> [Int64] {
      (0..<count).map { Int64(MPISuite.value(rank: rank, $0)) }
    }
  }
}
