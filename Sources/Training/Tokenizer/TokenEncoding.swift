public import DataParallel
import Files
import Foundation
import Interfaces
import Models
import ShardedData
import TensorCore

/// `cae-dist tokenizer encode`: the tokens of every picture that training will make, once.
///
/// Each rank takes whole shards; a killed encoding goes on within the shard where it was.
public enum TokenEncoding {
  /// Pictures that the tokenizer gets at once.
  private static let picturesOfBatch = 16

  /// Collective: every rank calls it with the same arguments.
  ///
  /// - Parameter output: Folder of the token files; nil: `data.tokens`, or `tokens` beside the
  ///   first shard.
  public static func run(
    _ cluster: Cluster, output: String?, configuration: () throws -> ResolvedConfiguration
  ) throws -> ExitCode {
    try run(cluster.group, output: output, configuration: configuration)
  }

  static func run(
    _ group: any ProcessGroup, output: String?, configuration: () throws -> ResolvedConfiguration
  ) throws -> ExitCode {
    let agreement = Agreement(group)
    let job = try agreement.run {
      try Job(try configuration(), output: output, localSize: group.localSize)
    }
    // One encoding at a time in a folder, and one view of what is there.
    let lock = try agreement.run { try group.rank == 0 ? job.lock() : nil }
    defer { withExtendedLifetime(lock) {} }
    let todo = try FirstRank(group).list(agreement) { try job.shardsToDo() }
    let started = ProcessInfo.processInfo.systemUptime
    if group.rank == 0 {
      DataPacking.say(
        "encoding \(job.index.count) images x \(job.description.views) pictures of \(todo.count) "
          + "of \(DataPacking.counted(job.index.shards.count, "shard")) into \(job.folder) on "
          + "\(DataPacking.counted(group.worldSize, "rank")), \(job.description.tokenizer)")
    }
    let mine = todo.enumerated().filter { $0.offset % group.worldSize == group.rank }.map(\.element)
    let images = mine.map { job.index.shards[$0].count }.reduce(0, +)
    let progress = ShareProgress(
      units: images * job.description.views, unit: "pictures", ranks: group.worldSize,
      isShown: group.rank == 0)
    // A failure ends all ranks at once; what was encoded stays.
    for shard in mine { try job.encode(job.index.shards[shard]) { progress.step($0) } }
    progress.end()
    try agreement.run {}
    if group.rank == 0 {
      let seconds = ProcessInfo.processInfo.systemUptime - started
      DataPacking.say(
        "encoded into \(job.folder) in \(ProgressLine.duration(seconds)); train with "
          + "--set data.tokens=\(job.folder)")
    }
    return .success
  }

  /// What one rank works with.
  private struct Job {
    let index: ShardIndex
    let folder: String
    let description: TokenDescription
    private let training: TrainingConfiguration
    private let tokens: TokenSource
    private let pool: ThreadPool
    private let loader: LoaderOptions

    init(_ resolved: ResolvedConfiguration, output: String?, localSize: Int) throws {
      training = resolved.training
      guard training.data.fixedViews > 0 else {
        throw ConfigurationError(
          "data.fixedViews",
          "is 0, so that every epoch makes new pictures; set how many pictures of each image are to "
            + "be encoded and trained on, for example 8")
      }
      let path = resolved.methodValue("tokenizer") ?? ""
      let tokenizer = try TokenizerFile.open(
        path, channels: training.model.channels, grid: training.model.grid)
      tokens = .computed(tokenizer)
      index = try ShardIndex(paths: training.data.train)
      try TrainingRun.requireChannels(of: index, training)
      let beside = index.shards[0].path.split(
        separator: "/", omittingEmptySubsequences: false
      ).dropLast()
      let named = training.data.tokens.isEmpty ? nil : training.data.tokens
      folder = output ?? named ?? (beside + ["tokens"]).joined(separator: "/")
      description = TokenDescription(
        grid: tokenizer.grid, vocabularySize: tokenizer.vocabularySize,
        views: training.data.fixedViews, settings: training.tokenSettings,
        tokenizer: try Job.name(of: tokenizer, path: path),
        pictureSize: max(training.encoderView.size, tokenizer.view.size))
      pool = ThreadPool(
        threadCount: ThreadCount.resolve(
          training.parallelism.threadsPerRank, localSize: localSize))
      loader = training.loaderOptions(kernelThreads: pool.threadCount, localSize: localSize)
    }

    /// File and hash of the tokenizer, and its picture.
    private static func name(of tokenizer: any DiscreteTokenizer, path: String) throws -> String {
      let hash = Hash64.hex(try Hash64.ofFile(path).hash)
      let view = tokenizer.view
      return "\(path.split(separator: "/").last ?? "") (\(hash), \(view.size) pixels by "
        + "\(view.filter.rawValue))"
    }

    func shardsToDo() throws -> [Int] {
      let names = index.shards.map { $0.path.split(separator: "/").last ?? "" }
      if Set(names).count < names.count {
        throw ConfigurationError(
          "data.train",
          "has shards of the same name in several folders, whose tokens would overwrite each other")
      }
      return try index.shards.indices.filter {
        try !TokenShardWriter.isComplete(description, of: index.shards[$0], in: folder)
      }
    }

    func lock() throws -> FileLock {
      try Files.makeDirectory(folder)
      return try FileLock(path: "\(folder)/.tokens.lock")
    }

    /// Encodes what is left of a shard.
    func encode(_ shard: ShardHeader, progress: (Int) -> Void) throws {
      let writer = try TokenShardWriter(description, of: shard, in: folder)
      progress(writer.count * description.views)
      let requests = requests(from: writer.count, count: shard.count)
      // With the encoder's picture, though nobody looks at it: how far an image is decoded at
      // reduced size depends on the largest picture.
      let plan = training.viewPlan(tokens.views(encoder: training.encoderView))
      let loader = try BatchLoader(
        index: try ShardIndex(paths: [shard.path]), transform: .training(plan), options: loader
      ) { $0 < requests.count ? requests[$0] : nil }
      defer { loader.stop() }
      let (views, size) = (description.views, description.tokensOfView)
      while writer.count < shard.count {
        let first = writer.count
        let samples = min(TokenShardWriter.blockSamples, shard.count - first)
        var block = [UInt16](repeating: 0, count: samples * views * size)
        var left = samples * views
        while left > 0, let batch = try loader.next() {
          let found = tokens.tokens(for: batch, pool: pool)
          for (place, key) in batch.keys.enumerated() {
            let start = ((key.sample - first) * views + key.epoch) * size
            for token in 0..<size { block[start + token] = UInt16(found[place * size + token]) }
          }
          left -= batch.count
          progress(batch.count)
        }
        try writer.append(block)
      }
      try writer.finish()
    }

    /// Batches of one view each, block by block.
    private func requests(from first: Int, count: Int) -> [[SampleKey]] {
      stride(from: first, to: count, by: TokenShardWriter.blockSamples).flatMap { start in
        let end = min(start + TokenShardWriter.blockSamples, count)
        return (0..<description.views).flatMap { view in
          stride(from: start, to: end, by: picturesOfBatch).map { batch in
            (batch..<min(batch + picturesOfBatch, end)).map {
              SampleKey(epoch: view, sample: $0)
            }
          }
        }
      }
    }
  }
}
