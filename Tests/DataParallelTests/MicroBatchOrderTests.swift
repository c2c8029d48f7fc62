import Testing

@testable import DataParallel

@Suite struct MicroBatchOrderTests {
  @Test func everyMicroBatchRunsOnce() {
    for worldSize in 1...13 {
      for count in 1...9 {
        for isSpread in [false, true] {
          let all = (0..<worldSize).map {
            MicroBatchOrder.indices(
              position: $0, worldSize: worldSize, count: count, isSpread: isSpread)
          }
          #expect(all.allSatisfy { $0.count == count && $0 == $0.sorted() })
          #expect(all.flatMap { $0 }.sorted() == Array(0..<worldSize * count))
        }
      }
    }
  }

  @Test func aRankHasNeighboursOrThoseOfOneTimeAre() {
    let indices = { isSpread in
      (0..<6).map {
        MicroBatchOrder.indices(position: $0, worldSize: 6, count: 2, isSpread: isSpread)
      }
    }
    #expect(indices(false) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]])
    // In groups of two.
    #expect(indices(true) == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9, 11]])
  }

  @Test func groupsAreTheLargestPowersOfTwo() {
    #expect(MicroBatchOrder.groups(worldSize: 1) == [0..<1])
    #expect(MicroBatchOrder.groups(worldSize: 3) == [0..<1, 1..<2, 2..<3])
    #expect(MicroBatchOrder.groups(worldSize: 8) == [0..<8])
    #expect(MicroBatchOrder.groups(worldSize: 12) == [0..<4, 4..<8, 8..<12])
  }

  @Test func deterministicWorldSizes() {
    #expect(MicroBatchOrder.deterministicWorldSizes(microBatches: 1) == [1])
    #expect(MicroBatchOrder.deterministicWorldSizes(microBatches: 8) == [1, 2, 4, 8])
    #expect(MicroBatchOrder.deterministicWorldSizes(microBatches: 24) == [1, 3, 6, 12, 24])
    #expect(MicroBatchOrder.deterministicWorldSizes(microBatches: 7) == [1, 7])
  }

  /// On an allowed number of ranks the sums are parts of the one order: each rank's, where ranks
  /// add up once a step; each time's in a group, where they do after each micro-batch.
  @Test(arguments: [1, 6, 8, 24, 40])
  func whatIsAddedUpTogetherIsAPartOfTheOrder(microBatches: Int) {
    for worldSize in MicroBatchOrder.deterministicWorldSizes(microBatches: microBatches) {
      let count = microBatches / worldSize
      let ranks = (0..<worldSize).map { position in
        MicroBatchOrder.indices(
          position: position, worldSize: worldSize, count: count, isSpread: false)
      }
      let groups = MicroBatchOrder.groups(worldSize: worldSize)
      let spread = groups.flatMap { group in
        (0..<count).map { time in
          group.map {
            MicroBatchOrder.indices(
              position: $0, worldSize: worldSize, count: count, isSpread: true)[time]
          }
        }
      }
      for (index, part) in (ranks + (worldSize > 1 ? spread : [])).enumerated() {
        let range = part[0]..<part[0] + part.count
        #expect(part == Array(range), "part \(index)")
        #expect(ReductionOrder.blocks(of: range, in: 0..<microBatches) == [range])
      }
    }
  }
}
