import Glibc
import Interfaces
import TensorCore
import TestSupport
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
    for (depth, budget, threads) in [(1, 1 << 30, 1), (4, 1 << 30, 3), (1, 0, 2), (3, 0, 1)] {
      let loader = try BatchLoader(
        index: index, transform: .training(trainingPlan),
        options: options(depth: depth, budget: budget, threads: threads), schedule: schedule(12))
      #expect(loader.isResident == (budget > 0))
      let batches = try batches(loader)
      #expect(batches.count == 12)
      for (request, batch) in batches.enumerated() {
        #expect(batch.keys == schedule(nil)(request))
        #expect(try batch.labels == batch.keys.map { try sample($0.sample).label })
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
      index: index, transform: .training(trainingPlan), options: options(),
      schedule: schedule(3))
    for batch in try batches(loader) {
      for (position, key) in batch.keys.enumerated() {
        let draw = Augmentation.draw(
          plan: trainingPlan, width: 24, height: 20, seed: 3, key: key)
        for (view, tensor) in zip(trainingPlan.views, batch.views) {
          let pixels = Resample.resized(
            try sample(key.sample).bytes, shape: Self.shape, box: draw.box,
            isFlipped: draw.isFlipped, toWidth: view.size, toHeight: view.size,
            filter: view.filter)
          expectNormalized(tensor, position: position, pixels: pixels, view: view)
        }
      }
    }
  }

  /// 10 of 20 is the whole height; 5 of 20 is half of it.
  @Test(arguments: [(10, 1.0), (5, 0.5)])
  func evaluationCutsTheMiddle(size: Int, cropShare: Double) throws {
    let view = ViewSpecification(
      size: size, filter: .bicubic, mean: [0, 0.5, 1], standardDeviation: [1, 0.5, 2])
    let loader = try BatchLoader(
      index: index, transform: .evaluation([view], cropShare: cropShare), options: options(),
      schedule: schedule(1))
    let batch = try #require(try loader.next())
    for (position, key) in batch.keys.enumerated() {
      // 20 x 24 becomes 10 x 12.
      let pixels = Resample.resized(
        try sample(key.sample).bytes, shape: Self.shape, toWidth: 12, toHeight: 10,
        filter: .bicubic)
      let (left, top) = size == 10 ? (1, 0) : (4, 2)
      var middle: [UInt8] = []
      for row in top..<top + size {
        middle += pixels[(row * 12 + left) * 3..<(row * 12 + left + size) * 3]
      }
      expectNormalized(batch.views[0], position: position, pixels: middle, view: view)
    }
  }

  /// Crop, resize, flip, RandAugment on bytes, normalize, erase; for any number of threads.
  @Test func augmentationsFollowTheResize() throws {
    var plan = trainingPlan
    plan.randAugment = RandAugmentPlan(mean: plan.views[0].mean)
    plan.randomErasing = 0.5
    var values: [[Float]] = []
    for threads in [1, 3] {
      let loader = try BatchLoader(
        index: index, transform: .training(plan), options: options(threads: threads),
        schedule: schedule(3))
      values.append(try batches(loader).flatMap { $0.views.flatMap(\.values) })
    }
    #expect(values[0] == values[1])
    let plain = try BatchLoader(
      index: index, transform: .training(trainingPlan), options: options(), schedule: schedule(3))
    let augment = RandAugment()
    var expected: [Float] = []
    for batch in try batches(plain) {
      for (view, tensor) in zip(plan.views, batch.views) {
        for (position, key) in batch.keys.enumerated() {
          expected += augmented(tensor, position, key, view, plan, augment)
        }
      }
    }
    #expect(largestDifference(values[0], expected) == 0)
    #expect(Set(expected).count > 1000)
  }

  @Test func twoChannelsAreNotAugmented() throws {
    let index = try packSynthetic(
      folder.path + "/two", shape: ImageShape(height: 8, width: 8, channels: 2), shardSize: 20)
    var plan = trainingPlan
    plan.views = [
      ViewSpecification(size: 8, filter: .bicubic, mean: [0, 0], standardDeviation: [1, 1])
    ]
    plan.randAugment = RandAugmentPlan(mean: [0, 0])
    let error = #expect(throws: ShardError.self) {
      _ = try BatchLoader(
        index: index, transform: .training(plan), options: options(), schedule: schedule(1))
    }
    #expect(error?.description.contains("have 2 channels, but RandAugment") == true)
  }

  /// What RandAugment and erasing make of a plain view.
  private func augmented(
    _ tensor: Tensor, _ position: Int, _ key: SampleKey, _ view: ViewSpecification,
    _ plan: ViewPlan, _ augment: RandAugment
  ) -> [Float] {
    let area = view.size * view.size
    let start = tensor.pointer + position * 3 * area
    var bytes = [UInt8](repeating: 0, count: 4 * area)
    for index in 0..<3 * area {
      let (channel, pixel) = (index / area, index % area)
      let value = start[index] * view.standardDeviation[channel] + view.mean[channel]
      bytes[4 * pixel + channel] = UInt8((value * 255).rounded())
    }
    var operations = Augmentation.random(.randAugment, plan: plan, seed: 3, key: key, name: "")
    let draws = RandAugment.Draws(plan.randAugment!, random: &operations)
    let pixels = bytes.withUnsafeBufferPointer {
      TestImage(
        augment.apply(
          draws,
          to: PixelView(
            pointer: $0.baseAddress!, width: view.size, height: view.size, channels: 3,
            pixelStride: 4))
      ).pixels
    }
    var result = (0..<3 * area).map { index -> Float in
      let channel = index / area
      let value = Float(pixels[index % area * 3 + channel]) / 255
      return (value - view.mean[channel]) / view.standardDeviation[channel]
    }
    var erasing = Augmentation.random(.randomErasing, plan: plan, seed: 3, key: key, name: "")
    RandomErasing.apply(
      to: &result, channels: 3, size: view.size, probability: plan.randomErasing,
      random: &erasing)
    return result
  }

  @Test func jitterChangesTheWholeImageBeforeTheCrop() throws {
    var plan = trainingPlan
    plan.colorJitter = 0.4
    let loader = try BatchLoader(
      index: index, transform: .training(plan), options: options(), schedule: schedule(2))
    let jitter = ColorJitter()
    for batch in try batches(loader) {
      for (position, key) in batch.keys.enumerated() {
        let draw = Augmentation.draw(plan: plan, width: 24, height: 20, seed: 3, key: key)
        let drawn = try #require(draw.jitter)
        let jittered = try sample(key.sample).bytes.withUnsafeBufferPointer {
          TestImage(jitter.apply(drawn, to: PixelView($0.baseAddress!, shape: Self.shape)))
        }
        for (view, tensor) in zip(plan.views, batch.views) {
          let pixels = Resample.resized(
            jittered.pixels, shape: Self.shape, box: draw.box, isFlipped: draw.isFlipped,
            toWidth: view.size, toHeight: view.size, filter: view.filter)
          expectNormalized(tensor, position: position, pixels: pixels, view: view)
        }
      }
    }
  }

  private func sample(_ number: Int) throws -> (bytes: [UInt8], label: Int32, key: String) {
    let (shard, row) = index.location(of: number)
    return try stored(index.shards[shard].path, row)
  }

  private func options(
    depth: Int = 2, budget: Int = 1 << 30, threads: Int = 1
  ) -> LoaderOptions {
    var options = LoaderOptions(seed: 3)
    (options.depth, options.memoryBudget, options.threads) = (depth, budget, threads)
    options.retries = .none
    return options
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
    #expect(try damage(path, at: Array(stored(path, row).bytes[0..<40])))
    let loader = try BatchLoader(
      index: index, transform: .training(trainingPlan), options: options(budget: budget),
      schedule: { [SampleKey(epoch: 0, sample: $0)] })
    // Read one by one, the samples before it come before the error.
    let good = budget == 0 ? 25 : 0
    for request in 0..<good { #expect(try loader.next()?.keys[0].sample == request) }
    for _ in 0..<2 {
      let text = try #require(description { _ = try loader.next() })
      #expect(text.contains(path) && text.contains("is damaged"), "\(text)")
      #expect(text.contains("Sample \(row) (image "), "\(text)")
    }
  }

  /// Raw images may have any number of channels.
  @Test(arguments: [2, 4, 6]) func channelsOfRawImagesAreTheirOwn(channels: Int) throws {
    let shape = ImageShape(height: 9, width: 8, channels: channels)
    let index = try packSynthetic(
      folder.file("c\(channels)"), count: 4, shape: shape, shardSize: 4)
    let view = ViewSpecification(
      size: 6, filter: .bicubic, mean: [Float](repeating: 0.5, count: channels),
      standardDeviation: [Float](repeating: 0.25, count: channels))
    let loader = try BatchLoader(
      index: index, transform: .evaluation([view], cropShare: 1), options: options()
    ) { $0 == 0 ? (0..<4).map { SampleKey(epoch: 0, sample: $0) } : nil }
    let batch = try #require(try loader.next())
    #expect(batch.views[0].shape == [4, channels, 6, 6])
    #expect(batch.views[0].values.allSatisfy { abs($0) <= 2 })
    try ContactSheet.write(index, to: folder.file("c\(channels).png"))
  }

  @Test func viewsOfOtherChannelsAreRefused() throws {
    let view = ViewSpecification(
      size: 8, filter: .bicubic, mean: [0.5], standardDeviation: [0.5])
    let text = try #require(
      description {
        _ = try BatchLoader(
          index: index, transform: .evaluation([view], cropShare: 1), options: options(),
          schedule: schedule(1))
      })
    #expect(text.contains("have 3 channel(s), but a view normalizes 1"))
  }

  @Test(arguments: [0, 1 << 30])
  func stoppingDoesNotHang(budget: Int) throws {
    for microseconds in [0, 100, 20_000] as [UInt32] {
      let loader = try BatchLoader(
        index: index, transform: .training(trainingPlan),
        options: options(depth: 1, budget: budget, threads: 2), schedule: schedule(nil))
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
        index: index, transform: .training(trainingPlan), options: options(depth: 1),
        schedule: schedule(nil))
      _ = try loader.next()
    }
  }
}
