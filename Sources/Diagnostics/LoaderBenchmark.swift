import Foundation
import Interfaces
import ShardedData

/// Images that a loader makes, by stage: `cae-dist bench loader`.
public enum LoaderBenchmark {
  public struct Options: Sendable {
    /// Shard files, or folders of them.
    public var paths: [String]
    public var imageSize: Int
    /// Threads that decode.
    public var threads: Int
    /// Images to load.
    public var images: Int

    public init(paths: [String], imageSize: Int, threads: Int, images: Int) {
      (self.paths, self.imageSize, self.threads) = (paths, imageSize, threads)
      self.images = images
    }
  }

  /// Time of a stage for an image.
  public struct Stage: Encodable, Sendable {
    public let stage: String
    public let microsecondsPerImage: Double
    public let imagesPerSecondPerCore: Double
  }

  public struct Report: Encodable, Sendable {
    public let layout: String
    public let images: Int
    public let threads: Int
    public let imagesPerSecond: Double
    /// Images for each second of a core's time, of all threads together.
    public let imagesPerSecondPerCore: Double
    public let stages: [Stage]
    /// Bytes/s of shuffled reading, and of reading the files from beginning to end; medians.
    public let shuffledReadBytesPerSecond: Double
    public let plainReadBytesPerSecond: Double
    /// The first over the second: medians of ratios of neighbouring runs.
    public let readShare: Double
    /// As `readShare`, with checksums checked by the same thread.
    public let verifiedReadShare: Double

    public var lines: [String] {
      [
        String(
          format: "%d images (%@), %d decode threads: %.0f images/s, %.0f images/s a core", images,
          layout, threads, imagesPerSecond, imagesPerSecondPerCore)
      ]
        + stages.map {
          let name = $0.stage.padding(toLength: 10, withPad: " ", startingAt: 0)
          return String(
            format: "  %@ %8.1f us an image  %9.0f images/s a core", name,
            $0.microsecondsPerImage, $0.imagesPerSecondPerCore)
        } + [
          String(
            format: "shuffled reading %.2f GB/s, plain read() of the files %.2f GB/s: %.2f "
              + "(%.2f with checksums)", shuffledReadBytesPerSecond / 1e9,
            plainReadBytesPerSecond / 1e9, readShare, verifiedReadShare)
        ]
    }
  }

  private static let batchSize = 64
  private static let readRounds = 5

  public static func run(_ options: Options) throws -> Report {
    let index = try ShardIndex(paths: options.paths)
    let sampler = DistributedSampler(
      count: index.count, seed: 1, windowSize: index.windowSize(budget: -1))
    let reading = try measureReading(index, sampler)
    let channels = index.imageShape?.channels ?? 3
    let plan = ViewPlan(
      cropScale: 0.08...1, cropAspect: 0.75...(4.0 / 3), flipProbability: 0.5,
      views: [
        ViewSpecification(
          size: options.imageSize, filter: .bicubic,
          mean: [Float](repeating: 0.45, count: channels),
          standardDeviation: [Float](repeating: 0.226, count: channels))
      ])
    var settings = LoaderOptions(seed: 1)
    (settings.threads, settings.depth, settings.memoryBudget) = (options.threads, 4, -1)
    let requests = max(1, options.images / batchSize)
    let loader = try BatchLoader(index: index, transform: .training(plan), options: settings) {
      $0 <= requests
        ? sampler.samples(
          step: $0, microBatch: 0, microBatchSize: batchSize, globalBatchSize: batchSize) : nil
    }
    // The first batch brings up threads, files and scratch memory.
    _ = try loader.next()
    let stagesBefore = LoaderStage.allCases.map { loader.clock.seconds($0) }
    let (started, cpu) = (ProcessInfo.processInfo.systemUptime, processSeconds())
    for _ in 0..<requests { _ = try loader.next() }
    let (wall, used) = (
      ProcessInfo.processInfo.systemUptime - started, processSeconds() - cpu
    )
    let images = requests * batchSize
    loader.stop()
    let stages = zip(LoaderStage.allCases, stagesBefore).map { stage, before in
      let seconds = (loader.clock.seconds(stage) - before) / Double(images)
      return Stage(
        stage: "\(stage)", microsecondsPerImage: seconds * 1e6,
        imagesPerSecondPerCore: seconds > 0 ? 1 / seconds : 0)
    }
    return Report(
      layout: index.layout.title, images: images, threads: options.threads,
      imagesPerSecond: Double(images) / wall, imagesPerSecondPerCore: Double(images) / used,
      stages: stages, shuffledReadBytesPerSecond: reading.shuffled,
      plainReadBytesPerSecond: reading.plain, readShare: reading.share,
      verifiedReadShare: reading.verified)
  }

  /// The two ways of reading in turn.
  private static func measureReading(
    _ index: ShardIndex, _ sampler: DistributedSampler
  ) throws -> (shuffled: Double, plain: Double, share: Double, verified: Double) {
    let batches = (0..<max(1, index.count / batchSize)).map {
      sampler.samples(
        step: $0, microBatch: 0, microBatchSize: batchSize, globalBatchSize: batchSize)
    }
    _ = try ReadBenchmark.readFiles(index)
    var rates: [(shuffled: Double, plain: Double, verified: Double)] = []
    for _ in 0..<readRounds {
      rates.append(
        (
          try rate { try ReadBenchmark.readSamples(index, batches: batches, verifies: false) },
          try rate { try ReadBenchmark.readFiles(index) },
          try rate { try ReadBenchmark.readSamples(index, batches: batches, verifies: true) }
        ))
    }
    return (
      median(rates.map(\.shuffled)), median(rates.map(\.plain)),
      median(rates.map { $0.shuffled / $0.plain }), median(rates.map { $0.verified / $0.plain })
    )
  }

  private static func rate(_ body: () throws -> Int) rethrows -> Double {
    let started = ProcessInfo.processInfo.systemUptime
    let bytes = try body()
    return Double(bytes) / (ProcessInfo.processInfo.systemUptime - started)
  }

  private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

  /// Seconds that all threads of this process have run.
  private static func processSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}
