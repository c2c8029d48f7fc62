import Files
import HDF5

/// Writes the targets of a data shard, block by block, and goes on where a killed writer stopped.
///
/// Blocks are gathered in a plain file, each behind its hash: what was not written to its end is
/// recognized and written again.
public final class TargetShardWriter {
  public let path: String
  /// Samples whose targets are there.
  public private(set) var count = 0
  private let description: TargetDescription
  private let shard: ShardHeader
  private let identity: String
  private let spool: TargetSpool
  private let spooled: AppendingFile

  /// - Parameter folder: Made if it is missing.
  /// - Throws: `ShardError` for sizes that no file has, too.
  public init(
    _ description: TargetDescription, of shard: ShardHeader, in folder: String
  ) throws(ShardError) {
    try description.requirePossible(path: folder)
    (self.description, self.shard) = (description, shard)
    path = TargetFormat.path(of: shard, in: folder)
    identity = try TargetFormat.identity(of: shard)
    let spool = TargetSpool(
      path: TargetFormat.spoolPath(of: shard, in: folder),
      header: Array("\(description)\n\(identity)\n".utf8),
      blockSamples: description.blockSamples, bytesOfSample: description.bytesOfSample,
      samples: shard.count)
    self.spool = spool
    try handling { () throws(FileError) in try Files.makeDirectory(folder) }
    (spooled, count) = try spool.open()
  }

  /// Whether the targets of a shard are complete; then removes what a killed writer has left.
  ///
  /// - Throws: `ShardError.staleTargets` where they are there, but of other settings.
  public static func isComplete(
    _ description: TargetDescription, of shard: ShardHeader, in folder: String
  ) throws(ShardError) -> Bool {
    let path = TargetFormat.path(of: shard, in: folder)
    guard Files.exists(path) else { return false }
    try TargetShardReader(path: path).require(description, of: shard)
    // Of a writer that was killed when all was done but this.
    let spool = TargetFormat.spoolPath(of: shard, in: folder)
    try handling { () throws(FileError) in if Files.exists(spool) { try Files.remove(spool) } }
    return true
  }

  /// Samples of the next block; 0: all are there.
  public var nextSamples: Int { min(description.blockSamples, shard.count - count) }

  /// Adds the targets of the next `nextSamples`, `[samples, views, ...]`: UInt16 or Float as in the
  /// file, little-endian.
  public func append(_ values: [UInt8]) throws(ShardError) {
    precondition(
      values.count == nextSamples * description.bytesOfSample,
      "\(values.count) bytes after \(count) samples of \(shard.path)")
    let hash = values.withUnsafeBytes { TargetSpool.hash($0) }
    try handling { () throws(FileError) in try spooled.append(hash + values) }
    count += nextSamples
  }

  /// Makes the file of what was gathered.
  ///
  /// - Precondition: All samples have their targets.
  public func finish() throws(ShardError) {
    precondition(count == shard.count, "\(count) of \(shard.count) samples for \(path)")
    let partial = spool.path + "-file"
    switch description.content {
    case .tokens: try write(UInt16.self, to: partial)
    case .features: try write(Float.self, to: partial)
    }
    try handling { () throws(FileError) in
      try Files.synchronize(partial)
      try Files.rename(partial, to: path)
      try Files.remove(spool.path)
    }
  }

  private func write<T: HDF5Representable>(
    _ type: T.Type, to partial: String
  ) throws(ShardError) {
    let extents = [description.views] + description.extents
    let (file, dataset) = try storing { () throws(HDF5Error) in
      let file = try HDF5File(path: partial, .create)
      try describe(file.root)
      let dataset = try file.root.createDataset(
        description.content.kind, of: type, shape: [shard.count] + extents,
        options: DatasetOptions(
          chunk: TargetFormat.chunk(description, count: shard.count), fletcher32: true))
      return (file, dataset)
    }
    var first = 0
    try spool.forEachBlock { (block) throws(ShardError) in
      let samples = block.count / description.bytesOfSample
      try storing { () throws(HDF5Error) in
        try dataset.write(
          from: block.bindMemory(to: type),
          start: [first] + extents.map { _ in 0 }, count: [samples] + extents)
      }
      first += samples
    }
    guard first == shard.count else {
      throw .badTargets(
        path: spool.path, reason: "it is not what was written; remove it and encode again")
    }
    try storing { () throws(HDF5Error) in try file.close() }
  }

  private func describe(_ root: HDF5Group) throws(HDF5Error) {
    let content = description.content
    try root.setAttribute("kind", content.kind)
    try root.setAttribute("formatVersion", TargetFormat.version)
    try root.setAttribute("grid", description.grid)
    try root.setAttribute(content.sizeKind, content.size)
    try root.setAttribute("views", description.views)
    try root.setAttribute("settings", description.settings)
    try root.setAttribute(content.sourceKind, description.source)
    try root.setAttribute("pictureSize", description.pictureSize)
    try root.setAttribute(TargetFormat.shard, identity)
  }
}

/// The plain file in which the blocks of a shard are gathered.
private struct TargetSpool {
  private static let hashBytes = 8

  let path: String
  /// What the blocks are of: those of something else are not taken over.
  let header: [UInt8]
  let blockSamples: Int
  let bytesOfSample: Int
  let samples: Int

  /// Opens the file behind its last good block; makes it anew if there is none.
  ///
  /// - Returns: With the samples that it has.
  func open() throws(ShardError) -> (AppendingFile, samples: Int) {
    var (bytes, count) = (header.count, 0)
    let isOfThis = try handling { () throws(FileError) in try startsWithHeader() }
    if isOfThis {
      try forEachBlock { block in
        bytes += TargetSpool.hashBytes + block.count
        count += block.count / bytesOfSample
      }
    }
    let file = try handling { () throws(FileError) in
      if isOfThis {
        try Files.truncate(path, toSize: bytes)
      } else {
        try Files.write(header, to: path)
      }
      return try AppendingFile(path: path)
    }
    return (file, count)
  }

  private func startsWithHeader() throws(FileError) -> Bool {
    guard Files.exists(path) else { return false }
    let found = UnsafeMutableRawBufferPointer.allocate(byteCount: header.count, alignment: 1)
    defer { found.deallocate() }
    let count = try RandomAccessFile(path: path).read(at: 0, into: found)
    return count == header.count && found.elementsEqual(header)
  }

  /// The good blocks in order, up to the first that is cut off or damaged.
  func forEachBlock(
    _ body: (UnsafeRawBufferPointer) throws(ShardError) -> Void
  ) throws(ShardError) {
    let file = try handling { () throws(FileError) in try RandomAccessFile(path: path) }
    let block = UnsafeMutableRawBufferPointer.allocate(
      byteCount: TargetSpool.hashBytes + blockSamples * bytesOfSample, alignment: 64)
    defer { block.deallocate() }
    var offset = header.count
    for first in stride(from: 0, to: samples, by: blockSamples) {
      let size = TargetSpool.hashBytes + min(blockSamples, samples - first) * bytesOfSample
      let part = UnsafeMutableRawBufferPointer(rebasing: block[..<size])
      let count = try handling { () throws(FileError) in try file.read(at: offset, into: part) }
      let values = UnsafeRawBufferPointer(rebasing: part[TargetSpool.hashBytes...])
      guard count == size, part[..<TargetSpool.hashBytes].elementsEqual(TargetSpool.hash(values))
      else { break }
      try body(values)
      offset += size
    }
  }

  static func hash(_ values: UnsafeRawBufferPointer) -> [UInt8] {
    var hash = Hash64()
    hash.update(values)
    let value = hash.finalize()
    return (0..<hashBytes).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }
}
