public import DataParallel
import Files
import Foundation
import Interfaces
public import ShardedData

/// `cae-dist data pack`: the ranks share the shards between them.
public enum DataPacking {
  public struct Options: Sendable {
    /// Folder that gets the shards.
    public var output: String
    /// First part of the shards' names.
    public var name: String
    public var pack: PackOptions

    public init(output: String, name: String, pack: PackOptions) {
      (self.output, self.name, self.pack) = (output, name, pack)
    }
  }

  /// Collective: every rank calls it with the same arguments. Shards that a killed packing has
  /// completed are not packed again.
  public static func run<Source: ImageSource>(
    _ cluster: Cluster, _ options: Options, source: () throws -> Source
  ) throws -> ExitCode {
    let group = cluster.group
    let isFirst = group.rank == 0
    let agreement = Agreement(group)
    let started = ProcessInfo.processInfo.systemUptime
    let packer = try agreement.run {
      try ShardPacker(
        try source(), to: options.output, name: options.name, options: options.pack)
    }
    // One packing at a time, which may then remove what a killed one has left.
    let lock = try agreement.run { try isFirst ? prepare(packer) : nil }
    defer { withExtendedLifetime(lock) {} }
    let packed = try FirstRank(group).list(agreement) {
      try (0..<packer.shardCount).filter { try packer.isPacked(shard: $0) }
    }
    if isFirst { announce(packer, packed: packed.count, ranks: group.worldSize) }
    let mine = (0..<packer.shardCount).filter {
      $0 % group.worldSize == group.rank && !packed.contains($0)
    }
    let progress = ShareProgress(
      units: mine.map { packer.imageCount(ofShard: $0) }.reduce(0, +), unit: "images",
      ranks: group.worldSize, isShown: isFirst)
    // A failure ends all ranks at once: what is complete stays, and is found by the next run.
    for number in mine { try packer.pack(shard: number) { progress.step() } }
    progress.end()
    // All shards are there when the last rank has come.
    try agreement.run {}
    try agreement.run {
      if isFirst { try conclude(packer, since: started) }
    }
    return .success
  }

  private static func prepare(_ packer: ShardPacker<some ImageSource>) throws -> FileLock {
    try Files.makeDirectory(packer.folder)
    let lock = try FileLock(path: "\(packer.folder)/.\(packer.name).lock")
    try packer.requireFolder()
    for name in try Files.list(packer.folder, includingHidden: true)
    where packer.isTemporary(name) {
      try Files.remove("\(packer.folder)/\(name)")
    }
    return lock
  }

  private static func announce(
    _ packer: ShardPacker<some ImageSource>, packed: Int, ranks: Int
  ) {
    let images = (0..<packer.shardCount).map { packer.imageCount(ofShard: $0) }.reduce(0, +)
    say(
      "packing \(images) images into \(counted(packer.shardCount, "shard")) in \(packer.folder) on "
        + counted(ranks, "rank")
        + (packed > 0 ? "; \(packed) complete already" : ""))
  }

  /// Counts what there is, and says what was left out.
  private static func conclude(
    _ packer: ShardPacker<some ImageSource>, since started: Double
  ) throws {
    let numbers = 0..<packer.shardCount
    let skipped = try numbers.flatMap { try packer.skipped(inShard: $0) }
    let report = "\(packer.folder)/skipped.jsonl"
    if skipped.isEmpty {
      if Files.exists(report) { try Files.remove(report) }
    } else {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      var lines = Data()
      for (key, reason) in skipped {
        lines += try encoder.encode(["image": key, "reason": reason]) + Data("\n".utf8)
      }
      try Files.writeAtomically(Array(lines), to: report)
    }
    let paths = numbers.map(packer.path(ofShard:))
    let bytes = try paths.map { try Files.size(of: $0) }.reduce(0, +)
    let count = try ShardIndex(paths: paths).count
    let seconds = ProcessInfo.processInfo.systemUptime - started
    say(
      "packed \(counted(count, "image")) into \(counted(paths.count, "shard")), "
        + String(format: "%.1f MB, in ", Double(bytes) / 1e6) + ProgressLine.duration(seconds)
        + (skipped.isEmpty
          ? "" : "; \(counted(skipped.count, "image")) left out, listed in \(report)"))
  }

  public static func counted(_ count: Int, _ noun: String) -> String {
    "\(count) \(noun)\(count == 1 ? "" : "s")"
  }

  static func say(_ text: String) {
    FileHandle.standardOutput.write(Data((text + "\n").utf8))
  }
}
