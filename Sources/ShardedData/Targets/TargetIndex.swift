import Files
import Interfaces
import TensorCore

/// The precomputed targets of a data set.
public struct TargetIndex: Sendable {
  public let description: TargetDescription
  fileprivate let paths: [String]

  /// Looks at all files.
  ///
  /// - Parameters:
  ///   - views, settings: Of the run; a file of others is an error.
  /// - Throws: `ShardError`, also where a file is missing.
  public init(
    folder: String, of index: ShardIndex, views: Int, settings: String
  ) throws(ShardError) {
    var first: TargetDescription?
    var paths: [String] = []
    for shard in index.shards {
      let path = TargetFormat.path(of: shard, in: folder)
      guard Files.exists(path) else { throw .noTargets(path: path, shard: shard.path) }
      let reader = try TargetShardReader(path: path)
      var wanted = first ?? reader.description
      (wanted.views, wanted.settings) = (views, settings)
      try reader.require(wanted, of: shard)
      first = first ?? reader.description
      paths.append(path)
    }
    guard let first else { throw .noShards(path: folder) }
    (description, self.paths) = (first, paths)
  }
}

/// Brings targets by sample numbers. For one thread.
final class TargetStore {
  private let targets: TargetIndex
  private let index: ShardIndex
  private var readers: [Int: TargetShardReader] = [:]

  init(_ targets: TargetIndex, _ index: ShardIndex) {
    (self.targets, self.index) = (targets, index)
  }

  func read(_ keys: [SampleKey]) throws(ShardError) -> PrecomputedTargets {
    let size = targets.description.valuesOfView
    switch targets.description.content {
    case .tokens:
      var tokens = [Int32](repeating: 0, count: keys.count * size)
      try tokens.withUnsafeMutableBufferPointer { (buffer) throws(ShardError) in
        try forEach(keys) { (position, reader, row, view) throws(ShardError) in
          try reader.read(
            row: row, view: view,
            into: UnsafeMutableBufferPointer(
              rebasing: buffer[position * size..<(position + 1) * size]))
        }
      }
      return .tokens(tokens)
    case .features:
      let features = Tensor(
        uninitialized: Shape([keys.count] + targets.description.extents))
      try forEach(keys) { (position, reader, row, view) throws(ShardError) in
        try reader.read(
          row: row, view: view,
          into: UnsafeMutableBufferPointer(start: features.pointer + position * size, count: size))
      }
      return .features(features)
    }
  }

  private func forEach(
    _ keys: [SampleKey],
    _ body: (_ position: Int, TargetShardReader, _ row: Int, _ view: Int) throws(ShardError) -> Void
  ) throws(ShardError) {
    for (position, key) in keys.enumerated() {
      let (shard, row) = index.location(of: key.sample)
      try body(position, try reader(of: shard), row, key.epoch % targets.description.views)
    }
  }

  private func reader(of shard: Int) throws(ShardError) -> TargetShardReader {
    if let reader = readers[shard] { return reader }
    // Few shards are read at a time; an index of thousands must not keep them all open.
    if readers.count == 32 { readers.removeAll() }
    let reader = try TargetShardReader(path: targets.paths[shard])
    readers[shard] = reader
    return reader
  }
}
