import DataParallel
import NN
import TensorCore
import Testing

@Suite struct ConsistencyCheckTests {
  /// - Parameter changes: For each rank what one of its parameters is changed by, in last bits.
  private static func oddRanks(_ changes: [UInt32]) throws -> [[Int]?] {
    try ThreadProcessGroup.run(count: changes.count) { group in
      let tree = ParameterTree()
      _ = tree.add("weight", [5, 7], .constant(0.5))
      let parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
      parameters.initialize(tree, seed: 1)
      let place = parameters.pointer + 20
      place.pointee = Float(bitPattern: place.pointee.bitPattern ^ changes[group.rank])
      return try ConsistencyCheck.divergence(of: parameters, step: 40, in: group)?.ranks
    }
  }

  @Test(arguments: 1...4)
  func equalRanksAgree(worldSize: Int) throws {
    let found = try Self.oddRanks([UInt32](repeating: 0, count: worldSize))
    #expect(found == [[Int]?](repeating: nil, count: worldSize))
  }

  @Test(
    arguments: [
      ([0, 0, 1, 0], [2]),
      ([1, 0, 0, 0], [0]),
      ([0, 2, 1, 0], [1, 2]),
      // Nobody is in the majority: rank 0 counts as right.
      ([0, 1], [1]),
      ([3, 1, 2], [1, 2]),
      ([0, 1, 1, 0], [1, 2]),
    ] as [([UInt32], [Int])])
  func oneBitNamesTheOddRanksOnEveryRank(changes: [UInt32], odd: [Int]) throws {
    let found = try Self.oddRanks(changes)
    #expect(found == [[Int]?](repeating: odd, count: changes.count))
  }

  @Test func sameNaNsAreNoDifference() throws {
    let nan = Float.nan.bitPattern ^ Float(0.5).bitPattern
    #expect(try Self.oddRanks([nan, nan]) == [nil, nil])
  }

  @Test func saysWhichRanksAfterWhichStep() throws {
    let texts = try ThreadProcessGroup.run(count: 3) { group in
      let tree = ParameterTree()
      _ = tree.add("weight", [4], .constant(Float(group.rank % 2)))
      let parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
      parameters.initialize(tree, seed: 1)
      let error = try ConsistencyCheck.divergence(of: parameters, step: 40, in: group)
      return error?.description ?? ""
    }
    #expect(texts.allSatisfy { $0.hasPrefix("after step 40 the parameters of rank 1 differ ") })
  }
}
