import Glibc
public import Interfaces

/// Makes micro-batches ahead of time on a thread of its own.
///
/// What is made depends on the seed and the sample keys alone, not on the queue's length, nor on
/// whether the images are held in memory. One consumer at a time.
public final class BatchLoader {
  /// True when all images are held in memory.
  public let isResident: Bool
  /// How long `next` has waited in all.
  public private(set) var waitMilliseconds = 0.0

  private let queue: BoundedQueue<Result<Batch, ShardError>>
  private let thread: pthread_t
  private var isJoined = false
  private var failure: ShardError?

  /// Starts the thread, which begins with the first request at once.
  ///
  /// - Parameters:
  ///   - seed: Of the random crops.
  ///   - depth: Finished batches that may wait in the queue.
  ///   - memoryBudget: The images stay in memory if they take at most this many bytes.
  ///   - schedule: The samples of each request by its number, from 0 on; nil ends the schedule.
  ///     Called on the thread.
  /// - Throws: `ShardError` when the views do not fit the images.
  /// - Precondition: `depth` is at least 1.
  public init(
    index: ShardIndex, transform: LoaderTransform, seed: UInt64, depth: Int = 2,
    memoryBudget: Int = 512 << 20, schedule: @escaping @Sendable (Int) -> [SampleKey]?
  ) throws(ShardError) {
    let channels = index.imageShape.channels
    for view in transform.views {
      for count in [view.mean.count, view.standardDeviation.count] where count != channels {
        throw .channelCount(path: index.shards[0].path, images: channels, view: count)
      }
    }
    queue = BoundedQueue(capacity: depth)
    let producer = BatchProducer(
      index: index, transform: transform, seed: seed, memoryBudget: memoryBudget,
      schedule: schedule, queue: queue)
    isResident = producer.isResident
    thread = try BatchLoader.start(producer)
  }

  deinit { stop() }

  /// The next batch of the schedule; waits until it is ready.
  ///
  /// - Returns: Nil at the end of the schedule and after `stop`.
  /// - Throws: The error of the thread, in the order of the schedule; again at every later call.
  public func next() throws(ShardError) -> Batch? {
    if let failure { throw failure }
    let before = BatchLoader.milliseconds()
    let outcome = queue.pop()
    waitMilliseconds += BatchLoader.milliseconds() - before
    switch outcome {
    case .success(let batch): return batch
    case .failure(let error):
      failure = error
      throw error
    case nil: return nil
    }
  }

  /// Ends the thread, whatever it is doing, and waits for it. Batches not taken are dropped.
  public func stop() {
    queue.stop()
    guard !isJoined else { return }
    pthread_join(thread, nil)
    isJoined = true
  }

  private static func start(_ producer: BatchProducer) throws(ShardError) -> pthread_t {
    var thread = pthread_t()
    let context = Unmanaged.passRetained(producer)
    let code = pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        Unmanaged<BatchProducer>.fromOpaque(context).takeRetainedValue().run()
        return nil
      }, context.toOpaque())
    guard code == 0 else {
      context.release()
      throw .noThread(code: code)
    }
    return thread
  }

  private static func milliseconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) * 1e3 + Double(time.tv_nsec) * 1e-6
  }
}
