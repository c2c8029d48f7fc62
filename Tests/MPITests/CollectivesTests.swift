import Testing

@testable import MPI

extension MPISuite {
  @Suite struct CollectivesTests {
    @Test func barrierReturns() throws {
      try MPISuite.withCommunicators { try $0.barrier() }
    }

    @Test(arguments: MPISuite.counts)
    func broadcastReachesAllRanks(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        for root in 0..<communicator.size {
          var values = row(communicator.rank, count)
          try values.withUnsafeMutableBufferPointer { try communicator.broadcast($0, root: root) }
          #expect(values == row(root, count))
        }
      }
    }

    @Test(arguments: MPISuite.counts)
    func allReduceCombinesAllRanks(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        for reduction in MPIReduction.allCases {
          var values = row(communicator.rank, count)
          try values.withUnsafeMutableBufferPointer { try communicator.allReduce($0, reduction) }
          // One rank keeps its value, whatever number stands for true.
          if reduction == .logicalAnd { values = values.map { $0 == 0 ? 0 : 1 } }
          #expect(values == reduced(reduction, communicator.size, count), "\(reduction)")
        }
      }
    }

    @Test func everyElementTypeIsSummed() throws {
      try checkSum { Float($0) }
      try checkSum { Double($0) }
      try checkSum { Int32($0) }
      try checkSum { Int64($0) }
      try checkSum { UInt8($0) }
      try checkSum { UInt16($0) }
      try checkSum { UInt64($0) }
    }

    private func checkSum<T: MPIRepresentable & Equatable>(_ make: (Int) -> T) throws {
      try MPISuite.withCommunicators { communicator in
        var values = row(communicator.rank, 10).map { make(Int($0)) }
        try values.withUnsafeMutableBufferPointer { try communicator.allReduce($0, .sum) }
        #expect(values == reduced(.sum, communicator.size, 10).map { make(Int($0)) }, "\(T.self)")
      }
    }

    @Test func sumsOfFloatsHaveTheSameBitsOnAllRanks() throws {
      try MPISuite.withCommunicators { communicator in
        let count = 5000
        var values = (0..<count).map { 1 / Float(3 + $0 + communicator.rank * 11) }
        try values.withUnsafeMutableBufferPointer { try communicator.allReduce($0, .sum) }
        var fromRoot = values
        try fromRoot.withUnsafeMutableBufferPointer { try communicator.broadcast($0, root: 0) }
        #expect(values == fromRoot)
      }
    }

    @Test(arguments: MPISuite.counts)
    func reduceScatterBlockLeavesTheOwnBlock(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        let input = row(communicator.rank, count * communicator.size)
        var block = [Int32](repeating: -1, count: count)
        try input.withUnsafeBufferPointer { input in
          try block.withUnsafeMutableBufferPointer {
            try communicator.reduceScatterBlock(input, into: $0, .sum)
          }
        }
        let whole = reduced(.sum, communicator.size, input.count)
        #expect(block == Array(whole[(communicator.rank * count)...].prefix(count)))
        #expect(input == row(communicator.rank, input.count))
      }
    }

    @Test(arguments: MPISuite.counts)
    func allGatherOrdersByRank(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        let expected = (0..<communicator.size).flatMap { row($0, count) }
        var inPlace = [Int32](repeating: -1, count: expected.count)
        let own = row(communicator.rank, count)
        inPlace.replaceSubrange(
          (communicator.rank * count)..<((communicator.rank + 1) * count), with: own)
        try inPlace.withUnsafeMutableBufferPointer { try communicator.allGather($0) }
        #expect(inPlace == expected)

        var gathered = [Int32](repeating: -1, count: expected.count)
        try own.withUnsafeBufferPointer { own in
          try gathered.withUnsafeMutableBufferPointer {
            try communicator.allGather(own, into: $0)
          }
        }
        #expect(gathered == expected)
      }
    }

    @Test(arguments: MPISuite.counts)
    func gatherReachesOnlyTheRoot(count: Int) throws {
      try MPISuite.withCommunicators { communicator in
        let own = row(communicator.rank, count)
        for root in 0..<communicator.size {
          var gathered = [Int32](repeating: -1, count: count * communicator.size)
          try own.withUnsafeBufferPointer { own in
            try gathered.withUnsafeMutableBufferPointer {
              let isRoot = communicator.rank == root
              try communicator.gather(own, into: isRoot ? $0 : nil, root: root)
            }
          }
          let expected =
            communicator.rank == root
            ? (0..<communicator.size).flatMap { row($0, count) }
            : [Int32](repeating: -1, count: gathered.count)
          #expect(gathered == expected)
        }
      }
    }
  }
}

extension MPISuite {
  /// What a rank puts in.
  fileprivate static func row(_ rank: Int, _ count: Int) -> [Int32] {
    (0..<count).map { Int32(value(rank: rank, $0)) }
  }
}

private func row(_ rank: Int, _ count: Int) -> [Int32] { MPISuite.row(rank, count) }

/// The reduction, computed here.
private func reduced(_ reduction: MPIReduction, _ size: Int, _ count: Int) -> [Int32] {
  (0..<count).map { index in
    let values = (0..<size).map { Int32(MPISuite.value(rank: $0, index)) }
    return switch reduction {
    case .sum: values.reduce(0, +)
    case .minimum: values.min()!
    case .maximum: values.max()!
    case .logicalAnd: values.allSatisfy { $0 != 0 } ? 1 : 0
    }
  }
}
