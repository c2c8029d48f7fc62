import Testing

@testable import MPI

extension MPISuite {
  /// Messages and collectives of bytes that are under way while the ranks go on.
  @Suite struct MessageTests {
    private func row(_ rank: Int, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(MPISuite.value(rank: rank, $0)) }
    }

    @Test(arguments: MPISuite.counts)
    func everyRankSendsToAllAtOnce(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        let (rank, size) = (communicator.rank, communicator.size)
        let own = row(rank, count)
        var received = [[UInt8]](repeating: Array(repeating: 0xFF, count: count), count: size)
        try own.withUnsafeBytes { own in
          for distance in 0..<size {
            let (to, from) = ((rank + distance) % size, (rank + size - distance) % size)
            try received[from].withUnsafeMutableBytes { place in
              let receive = try communicator.startReceive(into: place, from: from, tag: distance)
              let send = try communicator.startSend(own, to: to, tag: distance)
              try send.wait()
              try receive.wait()
            }
          }
        }
        #expect(received == (0..<size).map { row($0, count) })
      }
    }

    /// The second one that is sent may be asked for first, by its tag; those of one tag stay in
    /// their order.
    @Test func tagsTellMessagesApart() throws {
      try MPISuite.withCommunicators { communicator in
        let (rank, size) = (communicator.rank, communicator.size)
        let messages = (0..<3).map { row(rank + $0, 7) }
        let tags = [5, 9, 5]
        var received = [[UInt8]](repeating: Array(repeating: 0xFF, count: 7), count: 3)
        var sends: [() throws -> Void] = []
        for (message, tag) in zip(messages, tags) {
          let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 7, alignment: 1)
          bytes.copyBytes(from: message)
          let send = Pending(
            try communicator.startSend(
              UnsafeRawBufferPointer(bytes), to: (rank + 1) % size, tag: tag))
          sends.append {
            try send.wait()
            bytes.deallocate()
          }
        }
        for index in [1, 0, 2] {
          try received[index].withUnsafeMutableBytes {
            var receive = try communicator.startReceive(
              into: $0, from: (rank + size - 1) % size, tag: tags[index])
            while try !receive.test() {}
            try receive.wait()
          }
        }
        for send in sends { try send() }
        #expect(received == (0..<3).map { row((rank + size - 1) % size + $0, 7) })
      }
    }

    /// A request that waits in a closure.
    private final class Pending {
      private var request: MPIRequest?

      init(_ request: consuming MPIRequest) { self.request = consume request }

      func wait() throws { try request.take()?.wait() }
    }

    @Test(arguments: MPISuite.counts)
    func allGatherIsInRankOrder(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        let own = row(communicator.rank, count)
        var all = [UInt8](repeating: 0xFF, count: count * communicator.size)
        try own.withUnsafeBytes { own in
          try all.withUnsafeMutableBytes {
            var request = try communicator.startAllGather(own, into: $0)
            while try !request.test() {}
            try request.wait()
          }
        }
        #expect(all == (0..<communicator.size).flatMap { row($0, count) })
      }
    }

    @Test(arguments: MPISuite.counts)
    func broadcastReachesAllRanks(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        for root in 0..<communicator.size {
          var values = row(communicator.rank, count)
          try values.withUnsafeMutableBytes {
            var request = try communicator.startBroadcast($0, root: root)
            while try !request.test() {}
            try request.wait()
          }
          #expect(values == row(root, count))
        }
      }
    }

    /// Nobody gets through before the last one has come.
    @Test func barrierWaitsForAll() throws {
      try MPISuite.withCommunicators { communicator in
        guard communicator.size > 1 else {
          let barrier = try communicator.startBarrier()
          try barrier.wait()
          return
        }
        let last = communicator.size - 1
        if communicator.rank == last {
          // Sent only after all others have looked at their barrier.
          for other in 0..<last {
            var word: [Int64] = [0]
            try word.withUnsafeMutableBufferPointer {
              try communicator.receive(into: $0, from: other, tag: 3)
            }
            #expect(word == [1])
          }
          let barrier = try communicator.startBarrier()
          try barrier.wait()
        } else {
          var barrier = try communicator.startBarrier()
          for _ in 0..<100 {
            let isThrough = try barrier.test()
            #expect(!isThrough)
            if isThrough { break }
          }
          try [Int64(1)].withUnsafeBufferPointer {
            try communicator.send($0, to: last, tag: 3)
          }
          try barrier.wait()
        }
      }
    }

    @Test func wrongRanksAreErrors() throws {
      let world = try MPISuite.runtime.get().world
      var bytes: [UInt8] = [1]
      #expect(throws: MPIError.self) {
        try bytes.withUnsafeMutableBytes {
          let request = try world.startBroadcast($0, root: world.size)
          try request.wait()
        }
      }
      #expect(throws: MPIError.self) {
        try bytes.withUnsafeMutableBytes {
          let request = try world.startReceive(into: $0, from: world.size)
          try request.wait()
        }
      }
      #expect(throws: MPIError.self) {
        try bytes.withUnsafeBytes {
          let request = try world.startSend($0, to: world.size)
          try request.wait()
        }
      }
    }
  }
}
