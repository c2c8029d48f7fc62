import Interfaces
import TensorCore

/// What the loader's threads share: jobs in the order of the schedule, and samples to decode.
///
/// One thread reads, so that shards are read in order and outside of the decode threads; several
/// decode, outside of the HDF5 library's lock.
final class LoaderPipeline: @unchecked Sendable {
  // Sendable: constant but for the store, which the reading thread alone uses.
  let clock = LoaderClock()
  /// Jobs that are under way or done, in order; as many as may wait for the trainer.
  let jobs: BoundedQueue<BatchJob>
  private let tasks: BoundedQueue<DecodeTask>
  /// Memory for samples between reading and decoding: little, so that what was read is decoded while
  /// it is in cache. What is loaded ahead of the trainer are finished batches.
  private let buffers: BoundedQueue<StoredSample>
  private let store: SampleStore
  private let targets: TargetStore?
  private let transform: LoaderTransform
  private let channels: Int
  private let options: LoaderOptions
  private let schedule: @Sendable (Int) -> [SampleKey]?

  init(
    index: ShardIndex, transform: LoaderTransform, targets: TargetIndex?, channels: Int,
    options: LoaderOptions,
    schedule: @escaping @Sendable (Int) -> [SampleKey]?
  ) {
    self.transform = transform
    self.channels = channels
    self.options = options
    self.schedule = schedule
    self.targets = targets.map { TargetStore($0, index) }
    jobs = BoundedQueue(capacity: options.depth)
    let buffered = 2 * options.threads + 2
    tasks = BoundedQueue(capacity: buffered)
    buffers = BoundedQueue(capacity: buffered)
    for _ in 0..<buffered { _ = buffers.push(StoredSample()) }
    store = SampleStore(
      index: index, memoryBudget: options.memoryBudget, retries: options.retries)
  }

  var isResident: Bool { store.isResident }

  /// The reading thread.
  func read(_ track: Timeline.Track?) {
    var request = 0
    var isReady = false
    while !jobs.isStopped, let keys = schedule(request) {
      let job = BatchJob(keys: keys, views: transform.views, channels: channels)
      // Before the reading: the trainer finds the job, and waits for its end.
      guard jobs.push(job) else { break }
      do throws(ShardError) {
        if !isReady { try store.prepare { jobs.isStopped } }
        isReady = true
        if let targets { job.targets = try targets.read(keys) }
        let started = Timeline.now()
        guard try read(job) else { break }
        track?.add("read", number: request, from: started)
      } catch {
        job.fail(error)
        break
      }
      request += 1
    }
    jobs.finish()
    tasks.finish()
  }

  /// - Returns: False when the loader was stopped meanwhile.
  private func read(_ job: BatchJob) throws(ShardError) -> Bool {
    var laps = LoaderLaps()
    defer { clock.add(laps) }
    // In storage order: near-sequential, and images of one chunk one after the other.
    let order = job.keys.indices.sorted { job.keys[$0].sample < job.keys[$1].sample }
    for position in order {
      guard let sample = buffers.pop() else { return false }
      laps.skip()
      try store.read(
        job.keys[position].sample, needsKey: transform.needsKeys, into: sample)
      job.labels[position] = sample.label
      laps.lap(.read)
      let task = DecodeTask(job: job, position: position, sample: sample)
      guard tasks.push(task) else { return false }
    }
    return true
  }

  /// A decode thread.
  func decode(_ track: Timeline.Track?) {
    let renderer = SampleRenderer(transform: transform, channels: channels, seed: options.seed)
    while let task = tasks.pop() {
      let (job, position) = (task.job, task.position)
      var laps = LoaderLaps()
      let outputs = job.views.map { $0.pointer + position * ($0.count / job.keys.count) }
      do throws(ShardError) {
        let started = Timeline.now()
        try renderer.render(
          task.sample, key: job.keys[position], outputs: outputs, laps: &laps)
        track?.add("decode", number: job.keys[position].sample, from: started)
        job.finish(position, nil)
      } catch {
        job.finish(position, error)
      }
      _ = buffers.push(task.sample)
      clock.add(laps)
    }
  }

  func stop() {
    // Last the jobs: who sees them stopped finds everything else stopped.
    buffers.stop()
    tasks.stop()
    jobs.stop()
  }
}
