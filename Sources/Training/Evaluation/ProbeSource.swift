import Interfaces
import ShardedData
import TensorCore

/// A rank's part of the batches of a probe, in the sampler's order.
protocol ProbeSource: AnyObject {
  /// Features `[B, ..]` and labels of the next batch.
  func next() throws -> (features: Tensor, labels: [Int32])
}

/// From features that were computed before.
final class StoredProbeSource: ProbeSource {
  private let store: FeatureStore
  private let samples: (Int) -> [SampleKey]
  private var step: Int

  /// - Parameter samples: Of a step.
  init(_ store: FeatureStore, from step: Int, samples: @escaping (Int) -> [SampleKey]) {
    (self.store, self.step, self.samples) = (store, step, samples)
  }

  func next() -> (features: Tensor, labels: [Int32]) {
    let keys = samples(step)
    step += 1
    let features = Tensor(uninitialized: Shape([keys.count] + store.shape))
    for (row, key) in keys.enumerated() {
      (features.pointer + row * store.columns).update(
        from: store.features(of: key.sample, picture: key.epoch % store.pictures),
        count: store.columns)
    }
    return (features, keys.map { store.label(of: $0.sample) })
  }
}

/// From the encoder, picture by picture.
final class FreshProbeSource: ProbeSource {
  /// Images that go through the encoder together, at most.
  private static let chunk = 64

  private let encoder: FrozenEncoder
  private let kind: FeatureKind
  private let images: LabelledImages
  private let loader: BatchLoader
  private let batch: Int

  /// - Parameters:
  ///   - batch: Samples of a step on this rank.
  ///   - samples: Of a step; nil after the last.
  init(
    _ encoder: FrozenEncoder, _ kind: FeatureKind, _ images: LabelledImages,
    transform: LoaderTransform, options: LoaderOptions, batch: Int, from step: Int,
    samples: @escaping @Sendable (Int) -> [SampleKey]?
  ) throws {
    (self.encoder, self.kind, self.images, self.batch) = (encoder, kind, images, batch)
    let (chunk, chunks) = (
      FreshProbeSource.chunk, (batch + FreshProbeSource.chunk - 1) / FreshProbeSource.chunk
    )
    loader = try BatchLoader(index: images.index, transform: transform, options: options) {
      guard let all = samples(step + $0 / chunks) else { return nil }
      let first = $0 % chunks * chunk
      return Array(all[first..<min(all.count, first + chunk)])
    }
  }

  deinit { loader.stop() }

  func next() throws -> (features: Tensor, labels: [Int32]) {
    let features = Tensor(uninitialized: Shape([batch] + encoder.shape(of: kind)))
    let columns = features.count / batch
    var labels: [Int32] = []
    while labels.count < batch {
      guard let part = try loader.next() else {
        throw TrainingError.input(
          path: images.index.shards[0].path, reason: "the loader ended early")
      }
      try images.check(part)
      let values = encoder.features(kind, of: part.views[0])
      (features.pointer + labels.count * columns).update(from: values.pointer, count: values.count)
      labels += part.labels
    }
    return (features, labels)
  }
}
