import Interfaces
import TensorCore

/// What the loader's thread does: reads, augments and queues one request after the other.
final class BatchProducer {
  private let index: ShardIndex
  private let views: [ViewSpecification]
  private let store: SampleStore
  private let renderer: ViewRenderer
  private let schedule: @Sendable (Int) -> [SampleKey]?
  private let queue: BoundedQueue<Result<Batch, ShardError>>

  init(
    index: ShardIndex, transform: LoaderTransform, seed: UInt64, memoryBudget: Int,
    schedule: @escaping @Sendable (Int) -> [SampleKey]?,
    queue: BoundedQueue<Result<Batch, ShardError>>
  ) {
    self.index = index
    self.schedule = schedule
    self.queue = queue
    views = transform.views
    store = SampleStore(index: index, memoryBudget: memoryBudget)
    renderer = ViewRenderer(transform: transform, shape: index.imageShape, seed: seed)
  }

  var isResident: Bool { store.isResident }

  func run() {
    do throws(ShardError) {
      try store.prepare { queue.isStopped }
      var request = 0
      while !queue.isStopped, let keys = schedule(request) {
        guard let batch = try batch(keys), queue.push(.success(batch)) else { return }
        request += 1
      }
      queue.finish()
    } catch {
      _ = queue.push(.failure(error))
      queue.finish()
    }
  }

  /// Nil when the queue was stopped meanwhile.
  private func batch(_ keys: [SampleKey]) throws(ShardError) -> Batch? {
    let channels = index.imageShape.channels
    let tensors = views.map { view in
      Tensor(uninitialized: Shape([keys.count, channels, view.size, view.size]))
    }
    // In storage order, so that samples of one chunk are read one after the other.
    let order =
      store.isResident
      ? Array(keys.indices)
      : keys.indices.sorted {
        keys[$0].sample < keys[$1].sample
      }
    for position in order {
      if queue.isStopped { return nil }
      let key = keys[position]
      let image = try store.image(key.sample)
      let outputs = zip(tensors, views).map { tensor, view in
        tensor.pointer + position * channels * view.size * view.size
      }
      renderer.render(image, key: key, outputs: outputs)
    }
    return Batch(keys: keys, views: tensors, labels: keys.map { index.labels[$0.sample] })
  }
}
