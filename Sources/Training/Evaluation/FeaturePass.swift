import Interfaces
import ShardedData
import TensorCore

/// Features of a data set, or a classifier's answers, in its order. Batches are dealt out to the ranks, and have the same size and
/// samples for any number of them: so do the bits of their features.
struct FeaturePass {
  /// What is made of pictures `[B, channels, S, S]`: `[B, ..]`.
  let features: (Tensor) -> Tensor
  let images: LabelledImages
  let batches: OrderedBatches
  let transform: LoaderTransform
  let options: LoaderOptions
  let group: any ProcessGroup
  var needsLabels = true

  /// Runs the batches of this rank in order.
  ///
  /// - Parameters:
  ///   - epoch: Of the random draws, and of the picture where there are several.
  ///   - body: Gets the batch's number, its samples, their features and labels, the ones beyond the
  ///     end of the data set included.
  /// - Precondition: Nothing in it is collective.
  func run(
    epoch: Int = 0, _ body: (_ batch: Int, _ features: Tensor, _ labels: [Int32]) throws -> Void
  ) throws {
    let (rank, size, batches, images) = (group.rank, group.worldSize, batches, images)
    let loader = try BatchLoader(index: images.index, transform: transform, options: options) {
      let number = rank + $0 * size
      guard number < batches.batches else { return nil }
      return batches.places(of: number).map {
        SampleKey(epoch: epoch, sample: images.sample(at: $0))
      }
    }
    defer { loader.stop() }
    var number = rank
    while let batch = try loader.next() {
      if needsLabels { try images.check(batch) }
      try body(number, features(batch.views[0]), batch.labels)
      number += size
    }
  }
}
