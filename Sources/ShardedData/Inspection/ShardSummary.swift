/// What `ShardInspector` finds out about a data set.
public struct ShardSummary: Equatable, Codable, Sendable {
  public var layout: ShardLayout
  public var paths: [String]
  /// Samples in each shard.
  public var counts: [Int]
  /// Of all images; nil where each has its own.
  public var imageShape: ImageShape?
  /// How many images have a shorter side below 64, 128, 256, 512 and so on; the ends of the ranges.
  public var shorterSides: [SideCount]
  /// Empty where the files only number their classes.
  public var classNames: [String]
  /// Samples of each class.
  public var labelCounts: [Int]
  /// Samples without a class.
  public var unlabelled: Int
  /// Size of the files.
  public var bytesOnDisk: Int
  /// Where the images come from, each text once.
  public var sources: [String]
  /// Images whose pixels were looked at for the following figures, evenly over the data set.
  public var measuredImages: Int
  /// Of the pixels of a channel, scaled to [0, 1].
  public var mean: [Double]
  /// Of the pixels of a channel, scaled to [0, 1].
  public var standardDeviation: [Double]

  /// Images whose shorter side is below a bound, and not below the one before.
  public struct SideCount: Equatable, Codable, Sendable {
    public var below: Int
    public var images: Int
  }

  public var count: Int { counts.reduce(0, +) }
}
