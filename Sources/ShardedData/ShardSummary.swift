/// What `ShardInspector` finds out about a data set.
public struct ShardSummary: Equatable, Codable, Sendable {
  public var paths: [String]
  /// Samples in each shard.
  public var counts: [Int]
  public var imageShape: ImageShape
  public var elementType: String
  public var classNames: [String]
  /// Samples of each class.
  public var labelCounts: [Int]
  /// Images in a chunk of each shard.
  public var chunkRows: [Int]
  public var checksum: String
  /// Size of the files.
  public var bytesOnDisk: Int
  /// Where the images come from, each text once.
  public var sources: [String]
  /// Of all pixels of a channel, scaled to [0, 1].
  public var mean: [Double]
  /// Of all pixels of a channel, scaled to [0, 1].
  public var standardDeviation: [Double]
}
