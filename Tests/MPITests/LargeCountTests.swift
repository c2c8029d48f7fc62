import Testing

@testable import MPI

/// The cutting itself. That cut collectives give the same values is checked by the other suites,
/// which all run on communicators with a small limit too.
extension MPISuite {
  @Suite struct LargeCountTests {
    @Test(arguments: [0, 1, 2, 3, 4, 9, 10, 11], [1, 2, 3, 10, Int(Int32.max)])
    func piecesCoverTheCountInOrder(count: Int, limit: Int) {
      let pieces = LargeCount.pieces(of: count, limit: limit)
      #expect(pieces.flatMap { Array($0) } == Array(0..<count))
      #expect(pieces.allSatisfy { $0.count <= limit })
      #expect(pieces.count == max(1, (count + limit - 1) / limit))
    }

    @Test func limitIsTheLargestCountOfTheLibrary() {
      let pieces = LargeCount.pieces(of: 5_000_000_000, limit: LargeCount.limit)
      #expect(pieces.map(\.count) == [2_147_483_647, 2_147_483_647, 705_032_706])
    }

    @Test func limitIsPassedOn() throws {
      let world = try MPISuite.runtime.get().world
      let limited = try world.duplicate(countLimit: 2)
      #expect(world.countLimit == LargeCount.limit)
      #expect(try limited.duplicate().countLimit == 2)
      #expect(try limited.split(color: 0)?.countLimit == 2)
      #expect(try limited.splitByHost().countLimit == 2)
    }

    /// More elements than ranks times the limit, in every collective that has blocks.
    @Test func blocksLongerThanTheLimitAreCut() throws {
      let world = try MPISuite.runtime.get().world
      let cut = try world.duplicate(countLimit: 4)
      let count = 103
      let input = (0..<count * world.size).map { UInt64($0 * 1_000_003 + world.rank) }
      var (plain, pieces) = (
        [UInt64](repeating: 0, count: count), [UInt64](repeating: 1, count: count)
      )
      try input.withUnsafeBufferPointer { input in
        try plain.withUnsafeMutableBufferPointer {
          try world.reduceScatterBlock(input, into: $0, .maximum)
        }
        try pieces.withUnsafeMutableBufferPointer {
          try cut.reduceScatterBlock(input, into: $0, .maximum)
        }
      }
      #expect(plain == pieces)
    }
  }
}
