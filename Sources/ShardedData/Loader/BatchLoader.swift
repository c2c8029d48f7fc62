public import Interfaces
public import TensorCore

/// How a loader works; what it makes depends on `seed` alone.
public struct LoaderOptions: Sendable {
  /// Of the random crops.
  public var seed: UInt64
  /// Batches that may be under way or wait, at least 1.
  public var depth = 2
  /// Threads that decode, beside the one that reads; at least 1.
  public var threads = 1
  /// Raw images stay in memory if they take at most this many bytes.
  public var memoryBudget = ShardIndex.residentBytes
  /// What to do when the system fails to read.
  public var retries = RetryPolicy.patient
  /// Shows what the threads do.
  public var timeline: Timeline?

  public init(seed: UInt64) { self.seed = seed }
}

/// Makes micro-batches ahead of time on threads of its own.
///
/// What is made depends on the seed and the sample keys alone, not on the queue's length, nor on
/// the number of threads, nor on whether the images are held in memory. One consumer at a time.
public final class BatchLoader {
  /// True when all images are held in memory.
  public let isResident: Bool
  /// How long `next` has waited in all.
  public private(set) var waitMilliseconds = 0.0

  private let pipeline: LoaderPipeline
  private var threads: [LoaderThread] = []
  private var failure: ShardError?
  /// What `next` waits for.
  private var job: BatchJob?

  /// Starts the threads, which begin with the first request at once.
  ///
  /// - Parameters:
  ///   - targets: Precomputed ones, that go with every batch.
  ///   - schedule: The samples of each request by its number, from 0 on; nil ends the schedule. Called on
  ///     the reading thread.
  /// - Throws: `ShardError` when the views do not fit the images.
  public init(
    index: ShardIndex, transform: LoaderTransform, targets: TargetIndex? = nil,
    options: LoaderOptions, schedule: @escaping @Sendable (Int) -> [SampleKey]?
  ) throws(ShardError) {
    let channels = transform.views.first?.mean.count ?? 0
    let stored = index.imageShape?.channels ?? channels
    for count in transform.views.flatMap({ [$0.mean.count, $0.standardDeviation.count] })
    where count != stored {
      throw .channelCount(path: index.shards[0].path, images: stored, view: count)
    }
    if case .training(let plan) = transform, plan.randAugment != nil, ![1, 3].contains(stored) {
      throw .randAugmentChannels(path: index.shards[0].path, images: stored)
    }
    let pipeline = LoaderPipeline(
      index: index, transform: transform, targets: targets, channels: channels, options: options,
      schedule: schedule)
    self.pipeline = pipeline
    isResident = pipeline.isResident
    let reading = options.timeline?.track("reading thread")
    threads.append(try LoaderThread { pipeline.read(reading) })
    for number in 0..<options.threads {
      let track = options.timeline?.track("decode thread \(number)")
      threads.append(try LoaderThread { pipeline.decode(track) })
    }
  }

  deinit { stop() }

  /// The time of all threads by stage.
  public var clock: LoaderClock { pipeline.clock }

  /// The next batch of the schedule; waits until it is ready.
  ///
  /// - Parameter isInterrupted: Asked every now and then while there is nothing but to wait; where
  ///   it says so, the wait is given up. The next call waits for the same batch.
  /// - Returns: Nil at the end of the schedule, after `stop`, and where it was interrupted.
  /// - Throws: The error of a thread, in the order of the schedule; again at every later call.
  public func next(
    unless isInterrupted: () -> Bool = { false }
  ) throws(ShardError) -> Batch? {
    if let failure { throw failure }
    let started = LoaderLaps.now()
    defer { waitMilliseconds += Double(LoaderLaps.now() - started) * 1e-6 }
    if job == nil { job = pipeline.jobs.pop(unless: isInterrupted) }
    let (jobs, current) = (pipeline.jobs, job)
    // Of a loader that was stopped, a job has no outcome.
    guard let current,
      let outcome = current.outcome.pop(unless: { jobs.isStopped || isInterrupted() })
    else { return nil }
    self.job = nil
    switch outcome {
    case .success:
      return current.batch
    case .failure(let error):
      let named = error.namingSample
      failure = named
      throw named
    }
  }

  /// Ends the threads, whatever they are doing, and waits for them. Batches not taken are dropped.
  public func stop() {
    pipeline.stop()
    for thread in threads { thread.join() }
  }
}

extension ShardError {
  /// With the key of a damaged sample, which is only read where it is needed.
  fileprivate var namingSample: ShardError {
    guard case .damaged(let path, let row, "", let reason) = self,
      let key = try? ShardReader(path: path).key(of: row)
    else { return self }
    return .damaged(path: path, row: row, key: key, reason: reason)
  }
}
