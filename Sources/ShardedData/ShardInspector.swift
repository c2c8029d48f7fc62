import Files
import HDF5

/// Reads every sample of a data set and sums it up; by that it also verifies all checksums.
public enum ShardInspector {
  /// - Parameter paths: As for `ShardIndex`.
  /// - Throws: `ShardError`, for damaged samples too.
  public static func summary(
    paths: [String], progress: (Int, Int) -> Void = { _, _ in }
  ) throws(ShardError) -> ShardSummary {
    let index = try ShardIndex(paths: paths)
    var labelCounts = [Int](repeating: 0, count: index.classNames.count)
    for label in index.labels { labelCounts[Int(label)] += 1 }
    let histogram = try histogram(index, progress: progress)
    let moments = histogram.map(moments)
    let files = index.shards.map(\.path)
    var bytes = 0
    for file in files { bytes += try handling { () throws(FileError) in try Files.size(of: file) } }
    var sources: [String] = []
    for shard in index.shards where !sources.contains(shard.source) { sources.append(shard.source) }
    return ShardSummary(
      paths: files, counts: index.shards.map(\.count), imageShape: index.imageShape,
      elementType: ElementType.uint8.rawValue, classNames: index.classNames,
      labelCounts: labelCounts, chunkRows: index.shards.map(\.chunkRows),
      checksum: ShardFormat.checksumName, bytesOnDisk: bytes, sources: sources,
      mean: moments.map(\.mean), standardDeviation: moments.map(\.deviation))
  }

  /// How often each byte comes, for each channel.
  private static func histogram(
    _ index: ShardIndex, progress: (Int, Int) -> Void
  ) throws(ShardError) -> [[Int]] {
    let channels = index.imageShape.channels
    var counts = [Int](repeating: 0, count: channels * 256)
    var done = 0
    for shard in index.shards {
      let reader = ShardReader(path: shard.path)
      var row = 0
      while row < shard.count {
        let rows = row..<min(row + shard.chunkRows, shard.count)
        let pixels = try reader.images(rows: rows)
        for (position, pixel) in pixels.enumerated() {
          counts[position % channels * 256 + Int(pixel)] += 1
        }
        row = rows.upperBound
        progress(done + row, index.count)
      }
      done += shard.count
    }
    return (0..<channels).map { Array(counts[$0 * 256..<($0 + 1) * 256]) }
  }

  private static func moments(_ counts: [Int]) -> (mean: Double, deviation: Double) {
    let total = Double(counts.reduce(0, +))
    var (sum, squares) = (0.0, 0.0)
    for (value, count) in counts.enumerated() {
      sum += Double(count) * Double(value) / 255
      squares += Double(count) * Double(value * value) / (255 * 255)
    }
    let mean = sum / total
    return (mean, max(squares / total - mean * mean, 0).squareRoot())
  }
}
