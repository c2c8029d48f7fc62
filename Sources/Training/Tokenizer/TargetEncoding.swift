public import DataParallel
import Files
import Foundation
import Interfaces
import Models
import ShardedData
import TensorCore

/// `cae-dist tokenizer encode`: the targets of every picture that training will make, once.
///
/// Each rank takes whole shards; a killed encoding goes on within the shard where it was.
public enum TargetEncoding {
  /// Pictures that tokenizer or teacher gets at once.
  private static let picturesOfBatch = 16

  /// Collective: every rank calls it with the same arguments.
  ///
  /// - Parameter output: Folder of the files; nil: `data.targets`, or `targets` beside the first
  ///   shard.
  public static func run(
    _ cluster: Cluster, output: String?, configuration: () throws -> ResolvedConfiguration
  ) throws -> ExitCode {
    try run(cluster.group, output: output, configuration: configuration)
  }

  static func run(
    _ group: any ProcessGroup, output: String?, configuration: () throws -> ResolvedConfiguration
  ) throws -> ExitCode {
    let agreement = Agreement(group)
    let cores = try RankLayout.cores(of: group)
    let job = try agreement.run {
      try Job(try configuration(), output: output, cores: cores)
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
          + "\(DataPacking.counted(group.worldSize, "rank")), \(job.description.source)")
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
          + "--set data.targets=\(job.folder)")
    }
    return .success
  }

  /// What one rank works with.
  private struct Job {
    let index: ShardIndex
    let folder: String
    let description: TargetDescription
    private let training: TrainingConfiguration
    private let maker: TargetMaker
    private let pool: ThreadPool
    private let loader: LoaderOptions

    init(_ resolved: ResolvedConfiguration, output: String?, cores: Int) throws {
      training = resolved.training
      guard training.data.fixedViews > 0 else {
        throw ConfigurationError(
          "data.fixedViews",
          "is 0, so that every epoch makes new pictures; set how many pictures of each image are to "
            + "be encoded and trained on, for example 8")
      }
      maker = try TargetMaker(resolved)
      index = try ShardIndex(paths: training.data.train)
      try TrainingRun.requireChannels(of: index, training)
      let beside = index.shards[0].path.split(
        separator: "/", omittingEmptySubsequences: false
      ).dropLast()
      let named = training.data.targets.isEmpty ? nil : training.data.targets
      folder = output ?? named ?? (beside + ["targets"]).joined(separator: "/")
      description = TargetDescription(
        maker.content, grid: maker.grid, views: training.data.fixedViews,
        settings: training.pictureSettings, source: maker.name,
        pictureSize: max(training.encoderView.size, maker.view.size))
      try description.requirePossible(path: folder)
      pool = ThreadPool(
        threadCount: ThreadCount.resolve(
          training.parallelism.threadsPerRank, cores: cores))
      loader = training.loaderOptions(kernelThreads: pool.threadCount, cores: cores)
    }

    func shardsToDo() throws -> [Int] {
      let names = index.shards.map { $0.path.split(separator: "/").last ?? "" }
      if Set(names).count < names.count {
        throw ConfigurationError(
          "data.train",
          "has shards of the same name in several folders, whose targets would overwrite each other"
        )
      }
      return try index.shards.indices.filter {
        try !TargetShardWriter.isComplete(description, of: index.shards[$0], in: folder)
      }
    }

    func lock() throws -> FileLock {
      try Files.makeDirectory(folder)
      return try FileLock(path: "\(folder)/.targets.lock")
    }

    /// Encodes what is left of a shard.
    func encode(_ shard: ShardHeader, progress: (Int) -> Void) throws {
      let writer = try TargetShardWriter(description, of: shard, in: folder)
      progress(writer.count * description.views)
      let requests = Requests(first: writer.count, count: shard.count, description)
      // With the encoder's picture, though nobody looks at it: how far an image is decoded at
      // reduced size depends on the largest picture.
      let plan = training.viewPlan(
        maker.view == training.encoderView
          ? [maker.view] : [training.encoderView, maker.view])
      let loader = try BatchLoader(
        index: try ShardIndex(paths: [shard.path]), transform: .training(plan), options: loader
      ) { requests[$0] }
      defer { loader.stop() }
      let views = description.views
      while writer.count < shard.count {
        let first = writer.count
        var block: [UInt8] = []
        var left = writer.nextSamples * views
        while left > 0, let batch = try loader.next() {
          let made = try maker.targets(of: batch, from: shard.path, pool: pool)
          let size = made.count / batch.count
          if block.isEmpty { block = [UInt8](repeating: 0, count: left * size) }
          for (place, key) in batch.keys.enumerated() {
            let start = ((key.sample - first) * views + key.epoch) * size
            block.replaceSubrange(
              start..<start + size, with: made[place * size..<(place + 1) * size])
          }
          left -= batch.count
          progress(batch.count)
        }
        try writer.append(block)
      }
      try writer.finish()
    }
  }

  /// Batches of one view each, block by block.
  private struct Requests: Sendable {
    private let first: Int
    private let count: Int
    private let description: TargetDescription

    init(first: Int, count: Int, _ description: TargetDescription) {
      (self.first, self.count, self.description) = (first, count, description)
    }

    subscript(number: Int) -> [SampleKey]? {
      // All blocks but the last have as many batches.
      let ofView = (description.blockSamples + picturesOfBatch - 1) / picturesOfBatch
      let ofBlock = ofView * description.views
      let start = first + number / ofBlock * description.blockSamples
      guard start < count else { return nil }
      let end = min(start + description.blockSamples, count)
      let batches = (end - start + picturesOfBatch - 1) / picturesOfBatch
      let (view, batch) = (number % ofBlock / batches, number % ofBlock % batches)
      guard view < description.views else { return nil }
      let samples = start + batch * picturesOfBatch
      return (samples..<min(samples + picturesOfBatch, end)).map {
        SampleKey(epoch: view, sample: $0)
      }
    }
  }
}

extension Tensor {
  /// Of values that a teacher has made of the pictures of a batch.
  ///
  /// - Throws: Naming the first sample that has one that is not finite.
  func requireFinite(of batch: Batch, from path: String, by teacher: String) throws(TrainingError) {
    let perSample = count / max(batch.count, 1)
    for index in 0..<count where !pointer[index].isFinite {
      throw .input(
        path: path,
        reason: "\(teacher) makes features that are not finite of sample "
          + "\(batch.keys[index / perSample].sample)")
    }
  }
}

/// Tokenizer or teacher of a configuration's method.
private struct TargetMaker {
  private enum Kind {
    case tokenizer(any DiscreteTokenizer)
    case teacher(any FeatureTeacher)
  }

  /// File and hash, and the picture that it wants.
  let name: String
  private let kind: Kind

  init(_ resolved: ResolvedConfiguration) throws {
    let (channels, grid) = (resolved.training.model.channels, resolved.training.model.grid)
    let (path, view): (String, ViewSpecification)
    if let file = resolved.methodValue("teacher") {
      let teacher = try TeacherFile.open(
        file, key: "method.teacher", channels: channels, grid: grid)
      (kind, path, view) = (.teacher(teacher), file, teacher.view)
    } else if let file = resolved.methodValue("tokenizer") {
      let tokenizer = try TokenizerFile.open(file, channels: channels, grid: grid)
      (kind, path, view) = (.tokenizer(tokenizer), file, tokenizer.view)
    } else {
      throw ConfigurationError(
        "method.name", "has neither a tokenizer nor a teacher, so that there is nothing to encode")
    }
    let hash = Hash64.hex(try Hash64.ofFile(path).hash)
    name =
      "\(path.split(separator: "/").last ?? "") (\(hash), \(view.size) pixels by "
      + "\(view.filter.rawValue))"
  }

  var content: TargetDescription.Content {
    switch kind {
    case .tokenizer(let tokenizer): .tokens(vocabularySize: tokenizer.vocabularySize)
    case .teacher(let teacher): .features(width: teacher.width)
    }
  }

  var grid: Int {
    switch kind {
    case .tokenizer(let tokenizer): tokenizer.grid
    case .teacher(let teacher): teacher.grid
    }
  }

  var view: ViewSpecification {
    switch kind {
    case .tokenizer(let tokenizer): tokenizer.view
    case .teacher(let teacher): teacher.view
    }
  }

  /// As they are stored: tokens in two bytes, features as floats, little-endian.
  func targets(of batch: Batch, from shard: String, pool: ThreadPool) throws -> [UInt8] {
    let images = batch.views[batch.views.count - 1]
    switch kind {
    case .tokenizer(let tokenizer):
      return tokenizer.tokens(for: images, pool: pool).flatMap {
        [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)]
      }
    case .teacher(let teacher):
      let features = teacher.features(of: images, pool: pool)
      try features.requireFinite(of: batch, from: shard, by: name)
      return withExtendedLifetime(features) {
        Array(
          UnsafeRawBufferPointer(
            start: features.pointer, count: features.count * MemoryLayout<Float>.stride))
      }
    }
  }
}
