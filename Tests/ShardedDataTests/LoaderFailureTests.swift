import Files
import Glibc
import Interfaces
import Testing

@testable import ShardedData

/// A file system that goes away while a loader reads from it.
@Suite(.timeLimit(.minutes(1))) struct LoaderFailureTests {
  private let folder: ScratchFolder
  private let index: ShardIndex

  init() throws {
    folder = try ScratchFolder()
    index = try packSynthetic(
      folder.file("shards"), count: 40, shape: ImageShape(height: 20, width: 24, channels: 3),
      shardSize: 10)
  }

  private func loader(_ delays: [Double]) throws -> BatchLoader {
    var options = LoaderOptions(seed: 1)
    (options.memoryBudget, options.retries) = (0, RetryPolicy(delays: delays))
    return try BatchLoader(
      index: index, transform: .training(trainingPlan), options: options
    ) { $0 < 4 ? ($0 * 10..<$0 * 10 + 10).map { SampleKey(epoch: 0, sample: $0) } : nil }
  }

  @Test func aShardThatVanishesIsNamedAfterABoundedNumberOfTries() throws {
    let path = index.shards[2].path
    try Files.remove(path)
    let loader = try loader([0.01, 0.02])
    for _ in 0..<2 { #expect(try loader.next()?.count == 10) }
    let text = try #require(description { _ = try loader.next() })
    #expect(text.contains("\(path) could not be read in 3 attempts"), "\(text)")
  }

  @Test func aShardThatComesBackIsReadOn() throws {
    let (path, away) = (index.shards[2].path, folder.file("away"))
    try Files.rename(path, to: away)
    let loader = try loader([0.05, 0.4, 10])
    let thread = try LoaderThread {
      usleep(200_000)
      // A failure is seen by the loader's tries, which end.
      try? Files.rename(away, to: path)
    }
    var batches = 0
    while let batch = try loader.next() {
      #expect(batch.count == 10)
      batches += 1
    }
    thread.join()
    #expect(batches == 4)
  }

  /// A file that has become shorter since it was opened.
  @Test func aShardThatIsCutOffIsDamaged() throws {
    let path = index.shards[1].path
    let bytes = try Files.size(of: path)
    let reader = ShardReader(path: path)
    let sample = StoredSample()
    try reader.read(9, into: sample)
    try Files.truncate(path, toSize: bytes / 4)
    let text = try #require(description { try reader.read(9, into: sample) })
    #expect(text.contains("Sample 9 of \(path) is damaged: the file ends"), "\(text)")
  }
}
