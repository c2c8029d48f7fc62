import Interfaces
import Synchronization
import TensorCore

/// A micro-batch on its way through the loader: read by one thread, decoded by several, taken by
/// the trainer.
final class BatchJob: @unchecked Sendable {
  // Sendable: the reader writes labels and targets before the last sample goes to the decode queue;
  // a decode thread writes its sample's part of the views; the consumer reads after `outcome`.
  let keys: [SampleKey]
  let views: [Tensor]
  var labels: [Int32]
  /// Precomputed ones of all samples; none: empty.
  var targets = PrecomputedTargets.none
  let outcome = BoundedQueue<Result<Void, ShardError>>(capacity: 1)
  private let progress: Mutex<Progress>

  private struct Progress {
    var left: Int
    var failure: (position: Int, error: ShardError)?
  }

  init(keys: [SampleKey], views specifications: [ViewSpecification], channels: Int) {
    self.keys = keys
    views = specifications.map { view in
      Tensor(uninitialized: Shape([keys.count, channels, view.size, view.size]))
    }
    labels = [Int32](repeating: 0, count: keys.count)
    progress = Mutex(Progress(left: keys.count))
  }

  /// Ends the job at once.
  func fail(_ error: ShardError) { _ = outcome.push(.failure(error)) }

  /// One sample is done, for better or worse. The last one ends the job; of several failures the
  /// first sample's counts, so that every run says the same.
  func finish(_ position: Int, _ failure: ShardError?) {
    let end: Result<Void, ShardError>? = progress.withLock { state in
      state.left -= 1
      if let failure, position < state.failure?.position ?? .max {
        state.failure = (position, failure)
      }
      guard state.left == 0 else { return nil }
      return state.failure.map { .failure($0.error) } ?? .success(())
    }
    if let end { _ = outcome.push(end) }
  }

  /// What the trainer gets.
  var batch: Batch { Batch(keys: keys, views: views, labels: labels, targets: targets) }
}

/// A sample to decode.
struct DecodeTask: Sendable {
  let job: BatchJob
  let position: Int
  let sample: StoredSample
}
