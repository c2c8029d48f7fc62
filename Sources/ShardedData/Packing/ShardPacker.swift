import Files
import HDF5

/// Packs a source into shards `NAME-00000-of-00007.h5` and so on, of equal size give or take one
/// sample.
///
/// Which image goes where is a function of the source and the options alone, so shards can be packed
/// in any order, by any number of processes, and again after a kill: those that are complete are
/// recognized by what they say they were packed with.
public struct ShardPacker<Source: ImageSource> {
  public let folder: String
  public let name: String
  /// Number of shards.
  public let shardCount: Int
  private let source: Source
  private let options: PackOptions
  private let order: [Int32]
  private let description: ShardDescription

  /// - Throws: `ShardError` for a source without images.
  /// - Precondition: `shardSize` is at least 1.
  public init(
    _ source: Source, to folder: String, name: String, options: PackOptions
  ) throws(ShardError) {
    precondition(options.shardSize >= 1, "shards of \(options.shardSize) samples")
    guard source.count > 0 else {
      throw .badSource(path: source.origin, reason: "it holds no images")
    }
    (self.source, self.folder, self.name, self.options) = (source, folder, name, options)
    shardCount = (source.count + options.shardSize - 1) / options.shardSize
    order = PackOrder.indices(options.order, of: source)
    description = ShardDescription(
      classNames: source.classNames, source: source.origin,
      packing: "\(source.count) images with listing \(ShardPacker.listing(of: source)); "
        + "\(shardCount) shards; \(options.text)")
  }

  /// Images of a shard, those that will be skipped included.
  public func imageCount(ofShard number: Int) -> Int { positions(of: number).count }

  public func path(ofShard number: Int) -> String { "\(folder)/\(fileName(number))" }

  /// Whether a shard is there already, packed from the same source with the same options.
  ///
  /// - Throws: `ShardError.alreadyPacked` where it is another packing's.
  public func isPacked(shard number: Int) throws(ShardError) -> Bool {
    let path = path(ofShard: number)
    guard Files.exists(path) else { return false }
    let packing = try ShardFile(path: path).packing().options
    guard packing == description.packing else {
      throw .alreadyPacked(
        path: folder, name: name, found: packing.isEmpty ? "unknown options" : packing,
        expected: description.packing)
    }
    return true
  }

  /// - Throws: `ShardError.alreadyPacked` where the folder has shards of that name of another number.
  public func requireFolder() throws(ShardError) {
    guard Files.isDirectory(folder) else { return }
    let names = try handling { () throws(FileError) in
      try Files.list(folder)
    }
    for file in names {
      if let set = ShardFormat.set(ofFileName: file), set.name == name, set.total != shardCount {
        throw .alreadyPacked(
          path: folder, name: name, found: "\(set.total) shards",
          expected: "\(shardCount) shards")
      }
    }
  }

  /// Whether a file of the folder is what a killed packing of this name has left.
  public func isTemporary(_ fileName: String) -> Bool {
    guard fileName.hasPrefix("."), let end = fileName.firstRange(of: ".partial") else {
      return false
    }
    let shard = String(fileName[..<end.lowerBound].dropFirst())
    return ShardFormat.set(ofFileName: shard)?.name == name
  }

  /// Packs one shard.
  ///
  /// - Parameter progress: Called after each image.
  /// - Throws: `ShardError`; of images only where they are not to be skipped, or where a shard would
  ///   be empty. Nothing of the shard is left then.
  public func pack(
    shard number: Int, progress: () -> Void = {}
  ) throws(ShardError) {
    let preparer = ImagePreparer(options.format, channels: channels)
    let writer = try writer(of: number, preparer)
    var skipped: [String] = []
    for position in positions(of: number) {
      let index = Int(order[position])
      let key = source.key(at: index)
      let image: ImageContent
      do throws(ShardError) {
        image = try preparer.prepare(try source.content(at: index), key: key)
        try requireShape(of: image, key: key, writer)
      } catch {
        guard options.badImages == .skip, let reason = error.reasonToSkip else { throw error }
        skipped.append("\(key)\t\(reason)")
        progress()
        continue
      }
      try writer.append(image, label: source.label(at: index), key: key)
      progress()
    }
    guard writer.count > 0 else {
      throw .badSource(
        path: source.origin,
        reason: "none of the \(skipped.count) images for shard \(number) can be "
          + "read, the first: \(skipped[0])")
    }
    try writer.finish(skipped: skipped)
  }

  /// Images of a packed shard that were left out: their keys, and why.
  public func skipped(inShard number: Int) throws(ShardError) -> [(key: String, reason: String)] {
    try ShardFile(path: path(ofShard: number)).packing().skipped.map { line in
      let parts = line.split(separator: "\t", maxSplits: 1).map(String.init)
      return (parts.first ?? "", parts.count > 1 ? parts[1] : "")
    }
  }

  // MARK: Helpers

  private var channels: Int {
    if case .raw(_, let channels) = options.format { channels } else { 3 }
  }

  private func fileName(_ number: Int) -> String {
    ShardFormat.fileName(name: name, number: number, total: shardCount)
  }

  private func positions(of number: Int) -> Range<Int> {
    source.count * number / shardCount..<source.count * (number + 1) / shardCount
  }

  private func writer(
    of number: Int, _ preparer: ImagePreparer
  ) throws(ShardError) -> any ShardWriter {
    switch options.format {
    case .encoded:
      return try EncodedShardWriter(
        folder: folder, fileName: fileName(number), description: description)
    case .raw:
      return try RawShardWriter(
        folder: folder, fileName: fileName(number), imageShape: try rawShape(preparer),
        description: description)
    }
  }

  /// The shape of all raw images: that of the first one which can be read.
  private func rawShape(_ preparer: ImagePreparer) throws(ShardError) -> ImageShape {
    var first: ShardError?
    for index in 0..<source.count {
      do throws(ShardError) {
        let image = try preparer.prepare(
          try source.content(at: index), key: source.key(at: index))
        if case .pixels(_, let shape) = image { return shape }
      } catch {
        if options.badImages == .fail { throw error }
        first = first ?? error
      }
    }
    throw first ?? .badSource(path: source.origin, reason: "it holds no images")
  }

  private func requireShape(
    of image: ImageContent, key: String, _ writer: any ShardWriter
  ) throws(ShardError) {
    guard case .pixels(_, let shape) = image, let raw = writer as? RawShardWriter,
      shape != raw.imageShape
    else { return }
    throw .badSource(
      path: key,
      reason: "it has \(shape) pixels and channels, but the first image has \(raw.imageShape); "
        + "give --size to resize to")
  }

  /// Changes with any name or label of the source.
  private static func listing(of source: Source) -> String {
    var hash = Hash64()
    for index in 0..<source.count {
      hash.update("\(source.key(at: index))\t\(source.label(at: index))\n")
    }
    for name in source.classNames { hash.update("\(name)\n") }
    return Hash64.hex(hash.finalize())
  }
}

extension ShardPacker {
  /// Packs all shards, but for those that are there.
  ///
  /// - Returns: The paths of the shards.
  public func packAll(progress: () -> Void = {}) throws(ShardError) -> [String] {
    try requireFolder()
    for number in 0..<shardCount where try !isPacked(shard: number) {
      try pack(shard: number, progress: progress)
    }
    return (0..<shardCount).map(path(ofShard:))
  }
}

extension ShardError {
  /// Why an image is left out, where this is a matter of the image: what the system does not let be
  /// read may be there again tomorrow.
  fileprivate var reasonToSkip: String? {
    switch self {
    case .badSource(_, let reason), .damaged(_, _, _, let reason): reason
    default: nil
    }
  }
}
