import Glibc
import Interfaces
import TensorCore
import Testing

@testable import ShardedData

@Suite(.timeLimit(.minutes(1))) struct BatchLoaderTests {
  private static let shape = ImageShape(height: 20, width: 24, channels: 3)
  private let folder: ScratchFolder
  private let index: ShardIndex

  init() throws {
    folder = try ScratchFolder()
    index = try packSynthetic(folder.path, shape: BatchLoaderTests.shape, shardSize: 20)
  }

  private func schedule(_ requests: Int?) -> @Sendable (Int) -> [SampleKey]? {
    let sampler = DistributedSampler(count: index.count, seed: 8)
    return { request in
      if let requests, request >= requests { return nil }
      return sampler.samples(step: request, microBatch: 0, microBatchSize: 7, globalBatchSize: 7)
    }
  }

  private func batches(_ loader: BatchLoader) throws -> [Batch] {
    var batches: [Batch] = []
    while let batch = try loader.next() { batches.append(batch) }
    return batches
  }

  @Test func batchesAreTheSameForEveryDepthAndPlaceOfTheImages() throws {
    var reference: [[[Float]]]?
    for (depth, budget) in [(1, 1 << 30), (4, 1 << 30), (1, 0), (3, 0)] {
      let loader = try BatchLoader(
        index: index, transform: .training(trainingPlan), seed: 3, depth: depth,
        memoryBudget: budget, schedule: schedule(12))
      #expect(loader.isResident == (budget > 0))
      let batches = try batches(loader)
      #expect(batches.count == 12)
      for (request, batch) in batches.enumerated() {
        #expect(batch.keys == schedule(nil)(request))
        #expect(batch.labels == batch.keys.map { index.labels[$0.sample] })
        #expect(batch.views.map(\.shape) == [[7, 3, 16, 16], [7, 3, 8, 8]])
      }
      let values = batches.map { $0.views.map(\.values) }
      if let reference { #expect(values == reference) } else { reference = values }
      #expect(try loader.next() == nil)
      #expect(loader.waitMilliseconds >= 0)
    }
  }

  /// Every view against the plain way: draw, resize, normalize.
  @Test func viewsAreCropsResizedAndNormalized() throws {
    let loader = try BatchLoader(
      index: index, transform: .training(trainingPlan), seed: 3, schedule: schedule(3))
    for batch in try batches(loader) {
      for (position, key) in batch.keys.enumerated() {
        let draw = Augmentation.draw(
          plan: trainingPlan, width: 24, height: 20, seed: 3, key: key)
        for (view, tensor) in zip(trainingPlan.views, batch.views) {
          let pixels = Resample.resized(
            try image(key.sample), shape: index.imageShape, box: draw.box,
            isFlipped: draw.isFlipped, toWidth: view.size, toHeight: view.size,
            filter: view.filter)
          expectNormalized(tensor, position: position, pixels: pixels, view: view)
        }
      }
    }
  }

  @Test func evaluationCutsTheMiddle() throws {
    let view = ViewSpecification(
      size: 10, filter: .bicubic, mean: [0, 0.5, 1], standardDeviation: [1, 0.5, 2])
    let loader = try BatchLoader(
      index: index, transform: .evaluation([view]), seed: 3, schedule: schedule(1))
    let batch = try #require(try loader.next())
    for (position, key) in batch.keys.enumerated() {
      // 20 x 24 becomes 10 x 12, of which one column is cut on each side.
      let pixels = Resample.resized(
        try image(key.sample), shape: index.imageShape, toWidth: 12, toHeight: 10,
        filter: .bicubic)
      var middle: [UInt8] = []
      for row in 0..<10 { middle += pixels[(row * 36 + 3)..<(row * 36 + 33)] }
      expectNormalized(batch.views[0], position: position, pixels: middle, view: view)
    }
  }

  private func image(_ sample: Int) throws -> [UInt8] {
    let (shard, row) = index.location(of: sample)
    return try ShardReader(path: index.shards[shard].path).images(rows: row..<row + 1)
  }

  private func expectNormalized(
    _ tensor: Tensor, position: Int, pixels: [UInt8], view: ViewSpecification
  ) {
    let area = view.size * view.size
    let values = tensor.values[position * 3 * area..<(position + 1) * 3 * area]
    var expected: [Float] = []
    for channel in 0..<3 {
      for pixel in 0..<area {
        let value = Float(pixels[pixel * 3 + channel]) / 255
        expected.append((value - view.mean[channel]) / view.standardDeviation[channel])
      }
    }
    #expect(Array(values) == expected)
  }

  @Test(arguments: [0, 1 << 30])
  func aDamagedShardIsAnErrorOfNextThatNamesIt(budget: Int) throws {
    let (shard, row) = index.location(of: 25)
    let path = index.shards[shard].path
    let pixels = try ShardReader(path: path).images(rows: row..<row + 1)
    #expect(try damage(path, at: Array(pixels[0..<40])))
    let loader = try BatchLoader(
      index: index, transform: .training(trainingPlan), seed: 3, memoryBudget: budget,
      schedule: { [SampleKey(epoch: 0, sample: $0)] })
    // Read one by one, the samples of the first shard come before the error.
    let good = budget == 0 ? index.start(ofShard: shard) : 0
    for request in 0..<good { #expect(try loader.next()?.keys[0].sample == request) }
    for _ in 0..<2 {
      let text = try #require(description { _ = try loader.next() })
      #expect(text.contains(path) && text.contains("is damaged"), "\(text)")
    }
  }

  @Test func viewsOfOtherChannelsAreRefused() throws {
    let view = ViewSpecification(
      size: 8, filter: .bicubic, mean: [0.5], standardDeviation: [0.5])
    let text = try #require(
      description {
        _ = try BatchLoader(
          index: index, transform: .evaluation([view]), seed: 3, schedule: schedule(1))
      })
    #expect(text.contains("have 3 channel(s), but a view normalizes 1"))
  }

  @Test(arguments: [0, 1 << 30])
  func stoppingDoesNotHang(budget: Int) throws {
    for microseconds in [0, 100, 20_000] as [UInt32] {
      let loader = try BatchLoader(
        index: index, transform: .training(trainingPlan), seed: 3, depth: 1, memoryBudget: budget,
        schedule: schedule(nil))
      // The longest wait fills the queue, so that the thread sleeps in it.
      usleep(microseconds)
      loader.stop()
      loader.stop()
      #expect(try loader.next() == nil)
    }
  }

  @Test func droppingALoaderEndsItsThread() throws {
    for _ in 0..<20 {
      let loader = try BatchLoader(
        index: index, transform: .training(trainingPlan), seed: 3, depth: 1,
        schedule: schedule(nil))
      _ = try loader.next()
    }
  }
}
