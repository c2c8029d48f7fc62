import Testing

@testable import TensorCore

@Suite struct MemoryPoolTests {
  /// Sizes of a step: some live at once, some after each other.
  private func step(_ pool: MemoryPool) {
    var kept: [Storage] = []
    for count in [1, 100, 1000, 1000, 4097, 65_536, 100_001] {
      kept.append(pool.storage(count: count))
      _ = pool.storage(count: count * 2)
    }
    kept.removeFirst(3)
    kept += [pool.storage(count: 1000), pool.storage(count: 7)]
  }

  @Test func aSecondEqualStepAllocatesNothing() {
    let pool = MemoryPool()
    step(pool)
    let allocated = pool.allocatedBytes
    #expect(allocated > 0)
    for _ in 0..<5 { step(pool) }
    #expect(pool.allocatedBytes == allocated)
  }

  @Test func peakCountsWhatIsInUseAtOnce() {
    let pool = MemoryPool()
    let first = pool.storage(count: 1024)
    #expect(pool.peakUsedBytes == first.count * 4)
    do {
      let second = pool.storage(count: 1024)
      #expect(pool.peakUsedBytes == (first.count + second.count) * 4)
    }
    pool.resetPeak()
    #expect(pool.peakUsedBytes == first.count * 4)
    withExtendedLifetime(first) {}
  }

  @Test func freedBlocksAreHandedOutAgain() {
    let pool = MemoryPool()
    var first: Storage? = pool.storage(count: 1000)
    let address = first?.pointer
    first = nil
    // Nearly the same size: the same block.
    #expect(pool.storage(count: 1001).pointer == address)
    let live = [pool.storage(count: 1000), pool.storage(count: 1000)]
    #expect(live[0].pointer != live[1].pointer)
  }

  @Test func blocksAreAlignedAndWasteAtMostAnEighth() {
    let pool = MemoryPool()
    for count in [129, 200, 1000, 1023, 1024, 1025, 99_999, 1 << 20] {
      let storage = pool.storage(count: count)
      #expect(storage.count >= count)
      #expect(Double(storage.count) <= Double(count) * 1.125, "\(count)")
      #expect(UInt(bitPattern: storage.pointer) % 64 == 0)
    }
  }

  @Test func aCountingPoolCountsAsOneWithMemory() {
    let (pool, counting) = (MemoryPool(), MemoryPool(countsOnly: true))
    for _ in 0..<2 {
      step(pool)
      step(counting)
      #expect(counting.allocatedBytes == pool.allocatedBytes)
      #expect(counting.writtenBytes == pool.writtenBytes)
      #expect(counting.peakUsedBytes == pool.peakUsedBytes)
    }
    counting.trim()
    #expect(counting.allocatedBytes == 0 && counting.writtenBytes == 0)
    // More than any machine of the tests has.
    let blocks = (0..<64).map { _ in counting.storage(count: 1 << 34) }
    #expect(counting.allocatedBytes == 1 << 42)
    #expect(Set(blocks.map(\.pointer)).count == 1)
  }

  @Test func writtenBytesAreThoseOfTheLargestTensorOfEachBlock() {
    let pool = MemoryPool()
    _ = pool.storage(count: 1000)
    #expect(pool.writtenBytes == 4000)
    _ = pool.storage(count: 1001)
    _ = pool.storage(count: 999)
    #expect(pool.writtenBytes == 4004)
    #expect(pool.allocatedBytes == 4096)
  }
}
