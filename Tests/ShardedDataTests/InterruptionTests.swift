import Glibc
import Interfaces
import Synchronization
import Testing

@testable import ShardedData

/// A trainer that waits for data and is to stop.
@Suite(.timeLimit(.minutes(1))) struct InterruptionTests {
  private let folder: ScratchFolder
  private let index: ShardIndex

  init() throws {
    folder = try ScratchFolder()
    index = try packSynthetic(
      folder.file("shards"), count: 40, shape: ImageShape(height: 20, width: 24, channels: 3),
      shardSize: 10)
  }

  /// The third batch does not come before `isFree` is set.
  private func loader(_ isFree: ScheduleGate) throws -> BatchLoader {
    try BatchLoader(
      index: index, transform: .training(trainingPlan), options: LoaderOptions(seed: 1)
    ) { request in
      if request == 2 { isFree.wait() }
      return request < 4
        ? (request * 10..<request * 10 + 10).map { SampleKey(epoch: 0, sample: $0) } : nil
    }
  }

  @Test func waitIsGivenUpAndTakenUpAgain() throws {
    let gate = ScheduleGate()
    let loader = try loader(gate)
    for _ in 0..<2 { #expect(try loader.next(unless: { true })?.count == 10) }
    var questions = 0
    let started = LoaderLaps.now()
    #expect(
      try loader.next(unless: {
        questions += 1
        return questions == 3
      }) == nil)
    #expect(questions == 3)
    let seconds = Double(LoaderLaps.now() - started) * 1e-9
    #expect(seconds > 0.1 && seconds < 5, "asked every twentieth of a second: \(seconds) s")
    #expect(loader.waitMilliseconds > 100)
    gate.open()
    var first: [Int] = []
    while let batch = try loader.next() { first.append(batch.keys[0].sample) }
    #expect(first == [20, 30], "nothing is lost")
  }

  /// Also in the middle of a batch that is being read and decoded.
  @Test func batchThatIsUnderWayIsNotLost() throws {
    let gate = ScheduleGate()
    gate.open()
    let loader = try loader(gate)
    var (first, interruptions) = ([Int](), 0)
    while first.count < 4, interruptions < 10_000 {
      if let batch = try loader.next(unless: { true }) {
        first.append(batch.keys[0].sample)
      } else {
        interruptions += 1
      }
    }
    #expect(first == [0, 10, 20, 30])
  }

  @Test func interruptedLoaderCanBeStopped() throws {
    let gate = ScheduleGate()
    let loader = try loader(gate)
    for _ in 0..<2 { _ = try loader.next() }
    #expect(try loader.next(unless: { true }) == nil)
    gate.open()
    loader.stop()
    #expect(try loader.next() == nil)
  }

  @Test func queueIsWaitedForWhileNobodyInterrupts() throws {
    let queue = BoundedQueue<Int>(capacity: 1)
    let thread = try LoaderThread {
      usleep(150_000)
      _ = queue.push(7)
      queue.finish()
    }
    var questions = 0
    let element = queue.pop(unless: {
      questions += 1
      return false
    })
    #expect(element == 7)
    #expect(questions >= 1)
    #expect(queue.pop(unless: { true }) == nil)
    thread.join()
  }
}

/// Holds a thread until it is opened.
private final class ScheduleGate: Sendable {
  private let isOpen = Atomic<Bool>(false)

  func open() { isOpen.store(true, ordering: .relaxed) }
  func wait() { while !isOpen.load(ordering: .relaxed) { usleep(1000) } }
}
