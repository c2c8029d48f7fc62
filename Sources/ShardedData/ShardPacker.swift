import Files

/// Writes labelled images as a set of shards.
public enum ShardPacker {
  private static let orderSeed: UInt64 = 0x5AED_0001

  /// Packs all images of a source into `NAME-00000-of-00007.h5` and so on.
  ///
  /// The order is shuffled once by a fixed permutation, so that each shard is a fair sample of
  /// the whole even if the source is sorted by class; packing twice gives the same shards. The
  /// shards are of equal size, give or take one sample. On a failure the shards made so far are
  /// removed.
  ///
  /// - Parameters:
  ///   - folder: Made if it is missing.
  ///   - shardSize: The largest number of samples in a shard.
  ///   - progress: Called after each image with the number done and the number of all.
  /// - Returns: The paths of the shards.
  /// - Throws: `ShardError`, also when the folder already has shards of that name.
  /// - Precondition: `shardSize` is at least 1.
  public static func pack(
    _ source: some ImageSource, to folder: String, name: String, shardSize: Int,
    progress: (Int, Int) -> Void = { _, _ in }
  ) throws(ShardError) -> [String] {
    precondition(shardSize >= 1, "shards of \(shardSize) samples")
    guard source.count > 0 else {
      throw .badSource(path: source.origin, reason: "it holds no images")
    }
    try requireUnused(name, in: folder)
    let order = KeyedPermutation(count: source.count, seed: orderSeed, epoch: 0)
    let total = (source.count + shardSize - 1) / shardSize
    var paths: [String] = []
    do throws(ShardError) {
      for number in 0..<total {
        let positions = source.count * number / total..<source.count * (number + 1) / total
        let writer = try ShardWriter(
          folder: folder,
          fileName: ShardFormat.fileName(name: name, number: number, total: total),
          count: positions.count, imageShape: source.imageShape, classNames: source.classNames,
          source: source.origin)
        for position in positions {
          let index = order[position]
          try writer.append(image: try source.image(at: index), label: source.label(at: index))
          progress(position + 1, source.count)
        }
        try writer.finish()
        paths.append(writer.path)
      }
    } catch {
      // The first error is the one to report.
      for path in paths { try? Files.remove(path) }
      throw error
    }
    return paths
  }

  private static func requireUnused(_ name: String, in folder: String) throws(ShardError) {
    guard Files.isDirectory(folder) else { return }
    let names = try handling { () throws(FileError) in try Files.list(folder) }
    if names.contains(where: { ShardFormat.set(ofFileName: $0)?.name == name }) {
      throw .alreadyPacked(path: folder, name: name)
    }
  }
}
