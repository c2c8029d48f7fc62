public import DataParallel
import Files
import Foundation
import Interfaces
import Models
import NN
import TensorCore
import Training

/// `cae-dist bench checkpoint`: how long training waits for a checkpoint, against one copy of the
/// state, and how fast it gets to the disk, against plain writes of the same bytes.
public struct CheckpointBenchmark {
  public struct Options: Sendable {
    public var model: String
    public var threads: Int
    /// Where checkpoints are written, and removed again.
    public var folder: String
    public var repeats: Int
    /// `section.key=value` of a run's configuration.
    public var overrides: [String]

    public init(
      model: String, threads: Int, folder: String, repeats: Int, overrides: [String]
    ) {
      (self.model, self.threads, self.folder) = (model, threads, folder)
      (self.repeats, self.overrides) = (repeats, overrides)
    }
  }

  public struct Report: Encodable, Sendable {
    public let ranks: Int
    /// Of parameters, moments and buffers, over all ranks.
    public let stateBytes: Int
    /// Of a copy of the state from memory to memory, of the slowest rank; medians, as all here.
    public let copyMilliseconds: Double
    /// That training waits.
    public let stallMilliseconds: Double
    /// The second over the first: median of ratios of neighbouring runs.
    public let stallPerCopy: Double
    /// From the copy to the name of the checkpoint.
    public let saveMilliseconds: Double
    public let saveBytesPerSecond: Double
    /// Of plain writes of as many bytes by as many ranks at once, with fsync.
    public let plainBytesPerSecond: Double
    /// The first over the second: median of ratios of neighbouring runs.
    public let writeShare: Double

    public var lines: [String] {
      [
        String(
          format: "%d ranks, state of %.1f MB, %.1f MB a rank", ranks, Double(stateBytes) / 1e6,
          Double(stateBytes) / 1e6 / Double(ranks)),
        String(
          format: "training waits %.2f ms; one copy of the state takes %.2f ms: %.2f",
          stallMilliseconds, copyMilliseconds, stallPerCopy),
        String(
          format: "on the disk after %.0f ms: %.0f MB/s; plain writes with fsync %.0f MB/s: %.2f",
          saveMilliseconds, saveBytesPerSecond / 1e6, plainBytesPerSecond / 1e6, writeShare),
      ]
    }
  }

  private let options: Options
  private let group: any ProcessGroup
  private let pool: ThreadPool
  private let optimizer: DistributedOptimizer
  private let saver: CheckpointSaver

  /// On all ranks.
  ///
  /// - Returns: The report on the first rank.
  public static func run(_ options: Options, on cluster: Cluster) throws -> Report? {
    let report = try CheckpointBenchmark(options, on: cluster).run()
    return cluster.group.rank == 0 ? report : nil
  }

  private init(_ options: Options, on cluster: Cluster) throws {
    let agreement = Agreement(cluster.group)
    let setup = try agreement.run {
      try BenchmarkSetup(
        model: options.model, imageSize: 224, threads: options.threads,
        overrides: options.overrides)
    }
    self.options = options
    group = cluster.group
    pool = ThreadPool(threadCount: setup.threads)
    let tree = ParameterTree()
    _ = CAENetwork(
      setup.model, setup.method, vocabularySize: BenchmarkSetup.vocabularySize, in: tree)
    cluster.stallGuard.limit(to: setup.parallelism.stallTimeoutSeconds)
    optimizer = try DistributedOptimizer(
      tree, AdamWConfiguration(), setup.exchange, microBatches: 1, group: group,
      stallGuard: cluster.stallGuard, pool: pool)
    if optimizer.writesParameters { optimizer.parameters.initialize(tree, seed: 0) }
    try optimizer.didLoad()
    var saving = CheckpointSaver.Options(folder: options.folder)
    saving.keepLast = 1
    saver = CheckpointSaver(saving, optimizer, buffers: [], group: group, pool: pool)
    try agreement.run {
      try Files.makeDirectory(options.folder)
      guard try cluster.group.rank > 0 || Files.list(options.folder).isEmpty else {
        throw ConfigurationError("--folder", "\(options.folder) is not empty; name another one")
      }
    }
  }

  private struct Times {
    var copy: [Double] = []
    var stall: [Double] = []
    var save: [Double] = []
    var plain: [Double] = []
  }

  /// One of each in turn, so that what else the machine does hits them alike; the first ones do
  /// not count.
  private func run() throws -> Report {
    let bytes = saver.partBytes
    let memory = (0..<2).map { _ in
      HeapAllocator().allocate(count: max(1, bytes / 4), purpose: "benchmark")
    }
    var times = Times()
    for round in 0...options.repeats {
      let copy = try measure {
        StateCopy.run(
          [UnsafeBufferPointer(start: memory[0].pointer, count: bytes / 4)],
          to: memory[1].pointer, pool)
      }
      let (stall, save) = try measureSave(step: round)
      let plain = try measure { try writePlainly(memory[0].pointer, bytes: bytes) }
      guard round > 0 else { continue }
      times.copy.append(copy)
      times.stall.append(stall)
      times.save.append(save)
      times.plain.append(plain)
    }
    try Agreement(group).run {
      if group.rank == 0 { try Files.removeTree(options.folder) }
    }
    var total = [Double(bytes)]
    let outcome = total.withUnsafeMutableBufferPointer { total in
      Result { () throws(CollectiveError) in try group.allReduceSum(total) }
    }
    try outcome.get()
    return report(times, stateBytes: total[0])
  }

  private func report(_ times: Times, stateBytes: Double) -> Report {
    func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    func ratio(_ first: [Double], _ second: [Double]) -> Double {
      median(zip(first, second).map { $0 / $1 })
    }
    return Report(
      ranks: group.worldSize, stateBytes: Int(stateBytes),
      copyMilliseconds: median(times.copy) * 1e3, stallMilliseconds: median(times.stall) * 1e3,
      stallPerCopy: ratio(times.stall, times.copy), saveMilliseconds: median(times.save) * 1e3,
      saveBytesPerSecond: stateBytes / median(times.save),
      plainBytesPerSecond: stateBytes / median(times.plain),
      writeShare: ratio(times.plain, times.save))
  }

  /// Collective. Seconds of the slowest rank.
  private func measure(_ body: () throws -> Void) throws -> Double {
    try group.barrier()
    let started = ProcessInfo.processInfo.systemUptime
    try Agreement(group).run(body)
    return try group.allReduceMaximum([ProcessInfo.processInfo.systemUptime - started])[0]
  }

  private func measureSave(step: Int) throws -> (stall: Double, save: Double) {
    let header = CheckpointHeader(
      step: step, samplesSeen: 0, samplerPosition: 0, configuration: "",
      programVersion: Version.current, libraries: "")
    try group.barrier()
    let started = ProcessInfo.processInfo.systemUptime
    try saver.begin(header)
    let stall = ProcessInfo.processInfo.systemUptime - started
    while !saver.isIdle {
      while try group.allReduceMaximum([saver.isWriting ? 1 : 0])[0] > 0 { usleep(10_000) }
      try Agreement(group).run { if let failure = saver.failure { throw failure } }
      _ = try saver.advance()
    }
    let save = ProcessInfo.processInfo.systemUptime - started
    let slowest = try group.allReduceMaximum([stall, save])
    return (slowest[0], slowest[1])
  }

  /// What `dd bs=1M conv=fsync` does.
  private func writePlainly(_ memory: UnsafeMutablePointer<Float>, bytes: Int) throws {
    let path = "\(options.folder)/plain-\(group.rank)"
    try Files.write([], to: path)
    let file = try WritableFile(path: path)
    let all = UnsafeRawBufferPointer(start: memory, count: bytes)
    for start in stride(from: 0, to: bytes, by: 1 << 20) {
      try file.write(
        UnsafeRawBufferPointer(rebasing: all[start..<min(bytes, start + 1 << 20)]), at: start)
    }
    try file.synchronize()
    try Files.remove(path)
  }
}
