import Interfaces
import Testing

@testable import ShardedData

@Suite struct SamplerTests {
  @Test(arguments: [1, 2, 3, 4, 5, 7, 16, 17, 64, 97, 1000, 4097])
  func eachSampleComesOnceAnEpoch(count: Int) {
    let sampler = DistributedSampler(count: count, seed: 11)
    for epoch in 0..<3 {
      let keys = (0..<count).map { sampler.sample(at: epoch * count + $0) }
      #expect(keys.allSatisfy { $0.epoch == epoch })
      #expect(keys.map(\.sample).sorted() == Array(0..<count))
    }
  }

  @Test func ordersDifferBetweenEpochsAndSeeds() {
    func order(seed: UInt64, epoch: Int) -> [Int] {
      let permutation = KeyedPermutation(count: 500, seed: seed, epoch: epoch)
      return (0..<500).map { permutation[$0] }
    }
    let base = order(seed: 1, epoch: 0)
    #expect(base == order(seed: 1, epoch: 0))
    for other in [order(seed: 1, epoch: 1), order(seed: 2, epoch: 0), Array(0..<500)] {
      // Two independent orders of 500 agree in one place on average.
      #expect(zip(base, other).count { $0 == $1 } < 8)
    }
  }

  /// Chi-square of where a position goes over many keys; the bounds are the 99.99 % quantiles.
  @Test(arguments: [(2, 15.1), (3, 18.4), (4, 21.1), (5, 23.5), (7, 27.9), (50, 96.0)])
  func positionsGoEverywhereEquallyOften(count: Int, bound: Double) {
    let trials = 400 * count
    for position in [0, count - 1] {
      var seen = [Int](repeating: 0, count: count)
      for epoch in 0..<trials {
        seen[KeyedPermutation(count: count, seed: 5, epoch: epoch)[position]] += 1
      }
      let expected = Double(trials) / Double(count)
      let chiSquare = seen.reduce(0.0) { $0 + (Double($1) - expected) * (Double($1) - expected) }
      #expect(chiSquare / expected < bound, "\(count) values: \(seen)")
    }
  }

  @Test func allOrdersOfThreeComeEquallyOften() {
    var seen: [[Int]: Int] = [:]
    for epoch in 0..<6000 {
      let permutation = KeyedPermutation(count: 3, seed: 9, epoch: epoch)
      seen[(0..<3).map { permutation[$0] }, default: 0] += 1
    }
    #expect(seen.count == 6)
    #expect(seen.values.allSatisfy { abs($0 - 1000) < 150 }, "\(seen)")
  }

  @Test func microBatchesAreThePositionsOfTheStream() {
    // 10 samples and steps of 6: batches span epochs.
    let sampler = DistributedSampler(count: 10, seed: 3)
    var position = 0
    for step in 0..<7 {
      for microBatch in 0..<3 {
        let keys = sampler.samples(
          step: step, microBatch: microBatch, microBatchSize: 2, globalBatchSize: 6)
        #expect(keys == (position..<position + 2).map { sampler.sample(at: $0) })
        position += 2
      }
    }
  }

  @Test func aHugeDataSetNeedsNoMemory() {
    let sampler = DistributedSampler(count: 1 << 40, seed: 3)
    let keys = Set((0..<1000).map { sampler.sample(at: (5 << 40) + $0) })
    #expect(keys.count == 1000)
    #expect(keys.allSatisfy { $0.epoch == 5 && $0.sample < 1 << 40 })
  }
}
