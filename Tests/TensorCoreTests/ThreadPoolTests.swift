import Synchronization
import Testing

@testable import TensorCore

/// A pool that loses a wake-up hangs: a minute is far beyond what any of these takes.
@Suite(.timeLimit(.minutes(1))) struct ThreadPoolTests {
  @Test(arguments: threadCounts)
  func everyTaskRunsOnce(threadCount: Int) {
    let pool = ThreadPool(threadCount: threadCount)
    let runs = Tensor(repeating: 0, shape: [1000])
    let workers = Tensor(repeating: -1, shape: [1000])
    for count in [0, 1, 2, 3, 10, 999] {
      runs.pointer.update(repeating: 0, count: 1000)
      pool.run(count, as: .elementwise) { task, worker in
        runs.pointer[task] += 1
        workers.pointer[task] = Float(worker)
      }
      #expect((0..<1000).allSatisfy { runs.pointer[$0] == ($0 < count ? 1 : 0) })
      #expect((0..<count).allSatisfy { (0..<threadCount).contains(Int(workers.pointer[$0])) })
    }
  }

  @Test(arguments: threadCounts)
  func slabsCoverTheirRangeOnce(threadCount: Int) {
    let pool = ThreadPool(threadCount: threadCount)
    for granule in [1, 4, 16, 1024] {
      for count in [0, 1, 2, 3, 5, 15, 16, 17, 33, 100, 1023, 1025, 5000] {
        let slabs = Mutex<[Range<Int>]>([])
        pool.runSlabs(of: count, granule: granule, as: .elementwise) { slab, _ in
          slabs.withLock { $0.append(slab) }
        }
        let sorted = slabs.withLock { $0 }.sorted { $0.lowerBound < $1.lowerBound }
        #expect(sorted.count <= threadCount)
        #expect(sorted.allSatisfy { !$0.isEmpty && $0.lowerBound % granule == 0 })
        #expect(sorted.flatMap { Array($0) } == Array(0..<count), "\(count) by \(granule)")
      }
    }
  }

  @Test(arguments: threadCounts)
  func manyShortRounds(threadCount: Int) {
    let pool = ThreadPool(threadCount: threadCount)
    let total = Atomic<Int>(0)
    for round in 0..<5000 {
      pool.run(round % 7, as: .elementwise) { task, _ in
        _ = total.wrappingAdd(task + 1, ordering: .relaxed)
      }
    }
    let expected = (0..<5000).reduce(0) { $0 + ($1 % 7) * ($1 % 7 + 1) / 2 }
    #expect(total.load(ordering: .relaxed) == expected)
  }

  @Test func aDroppedPoolEnds() {
    for round in 0..<200 {
      weak var dropped: ThreadPool?
      do {
        let pool = ThreadPool(threadCount: 3)
        dropped = pool
        // Every other pool is dropped before its threads have come up.
        if round % 2 == 0 { pool.run(5, as: .elementwise) { _, _ in } }
      }
      #expect(dropped == nil)
    }
  }

  @Test func anIdlePoolSkipsAllTasks() {
    let pool = ThreadPool(idleThreadCount: 3)
    #expect(pool.threadCount == 3)
    pool.run(5, as: .loss) { _, _ in Issue.record("a task was run") }
    pool.runSlabs(of: 5, as: .loss) { _, _ in Issue.record("a slab was run") }
  }
}
