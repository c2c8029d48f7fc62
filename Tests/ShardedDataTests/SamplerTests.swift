import Files
import Interfaces
import TensorCore
import Testing

@testable import ShardedData

@Suite struct SamplerTests {
  @Test(arguments: [1, 2, 3, 4, 5, 7, 16, 17, 64, 97, 1000, 4097])
  func eachSampleComesOnceAnEpoch(count: Int) {
    let sampler = DistributedSampler(count: count, seed: 11)
    expectEachSampleOnce(sampler)
  }

  /// Windows that divide the data set or not, are longer than it, or are no multiple of a run.
  @Test(arguments: [
    (1, 4), (7, 8), (8, 8), (64, 8), (65, 8), (1000, 256), (4096, 256), (4097, 256), (9999, 20),
    (5000, 12), (300, 7), (256 * 16 + 5 * 256 + 3, 256),
  ])
  func eachSampleComesOnceAnEpochWithWindows(count: Int, window: Int) {
    expectEachSampleOnce(DistributedSampler(count: count, seed: 5, windowSize: window))
  }

  private func expectEachSampleOnce(_ sampler: DistributedSampler) {
    let count = sampler.count
    for epoch in 0..<3 {
      let keys = (0..<count).map { sampler.sample(at: epoch * count + $0) }
      #expect(keys.allSatisfy { $0.epoch == epoch })
      #expect(keys.map(\.sample).sorted() == Array(0..<count))
    }
  }

  /// Where a sample stands, over many epochs: anywhere equally often, those too that fill no
  /// window. 99.99 % quantiles of chi-square with 9 degrees of freedom.
  @Test(arguments: [0, 517, 1299]) func samplesStandEverywhereEquallyOften(sample: Int) {
    let sampler = DistributedSampler(count: 1300, seed: 2, windowSize: 64)
    var seen = [Int](repeating: 0, count: 10)
    let epochs = 400
    for epoch in 0..<epochs {
      let place = (0..<1300).first { sampler.sample(at: epoch * 1300 + $0).sample == sample }
      seen[(place ?? 0) / 130] += 1
    }
    let expected = Double(epochs) / 10
    let chiSquare = seen.reduce(0.0) { $0 + (Double($1) - expected) * (Double($1) - expected) }
    #expect(chiSquare / expected < 33.7, "\(seen)")
  }

  /// What makes reads near-sequential: a group of 16 windows is all that 4096 positions touch, and
  /// eight neighbouring positions are eight neighbours.
  @Test func windowsAreReadTogether() {
    let sampler = DistributedSampler(count: 1 << 20, seed: 2, windowSize: 256)
    let samples = (0..<8192).map { sampler.sample(at: $0).sample }
    for start in stride(from: 0, to: 8192, by: 4096) {
      let group = samples[start..<start + 4096].sorted()
      var places = 1
      for (one, next) in zip(group, group.dropFirst()) where next != one + 1 { places += 1 }
      #expect(places <= 16)
    }
    for start in stride(from: 0, to: 8192, by: 8) {
      let run = samples[start..<start + 8]
      // But where the ring of samples is closed.
      let span = (run.max() ?? 0) - (run.min() ?? 0)
      #expect(span == 7 || span > 1 << 19)
      #expect(Set(run).count == 8)
    }
    // In their runs, too, samples are shuffled.
    #expect(zip(samples, samples.dropFirst()).count { $1 == $0 + 1 } < 8192 / 4)
    // And yet a batch mixes windows.
    #expect(Set(samples[..<512].map { $0 / 256 }).count >= 12)
  }

  /// The order in which all ranks together see samples does not depend on how many there are.
  @Test func theGlobalOrderIsTheSameForAnyNumberOfRanks() {
    let sampler = DistributedSampler(count: 5000, seed: 3, windowSize: 64)
    func order(ranks: Int) -> [SampleKey] {
      (0..<20).flatMap { step in
        (0..<ranks).flatMap { rank in
          (rank * 24 / ranks..<(rank + 1) * 24 / ranks).flatMap {
            sampler.samples(step: step, microBatch: $0, microBatchSize: 4, globalBatchSize: 96)
          }
        }
      }
    }
    let reference = order(ranks: 1)
    for ranks in [2, 3, 8] { #expect(order(ranks: ranks) == reference) }
  }

  @Test func ordersDifferBetweenEpochsAndSeeds() {
    func order(seed: UInt64, epoch: Int) -> [Int] {
      let permutation = KeyedPermutation(count: 500, seed: seed, stream: .samplerOrder, epoch)
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
        seen[KeyedPermutation(count: count, seed: 5, stream: .samplerOrder, epoch)[position]] += 1
      }
      let expected = Double(trials) / Double(count)
      let chiSquare = seen.reduce(0.0) { $0 + (Double($1) - expected) * (Double($1) - expected) }
      #expect(chiSquare / expected < bound, "\(count) values: \(seen)")
    }
  }

  @Test func allOrdersOfThreeComeEquallyOften() {
    var seen: [[Int]: Int] = [:]
    for epoch in 0..<6000 {
      let permutation = KeyedPermutation(count: 3, seed: 9, stream: .samplerOrder, epoch)
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

  /// Resident memory in bytes.
  private func residentMemory() throws -> Int {
    let pages = try Files.readText("/proc/self/statm").split(separator: " ")[1]
    return (Int(pages) ?? 0) * 4096
  }

  @Test(arguments: [1, 256]) func aHugeDataSetNeedsNoMemory(window: Int) throws {
    let count = 1_000_000_000
    let sampler = DistributedSampler(count: count, seed: 3, windowSize: window)
    #expect(MemoryLayout<DistributedSampler>.size <= 24)
    var keys: Set<SampleKey> = []
    keys.reserveCapacity(20_000)
    let before = try residentMemory()
    for place in 0..<10_000 {
      keys.insert(sampler.sample(at: 5 * count + place * 99_991))
    }
    let growth = try residentMemory() - before
    print("sampler over \(count) samples, windows of \(window): memory grew by \(growth) bytes")
    // Other tests run beside this one; a list of samples would take 8 GB.
    #expect(growth < 256 << 20)
    #expect(keys.count == 10_000)
    #expect(keys.allSatisfy { $0.epoch == 5 && $0.sample < count })
  }
}
