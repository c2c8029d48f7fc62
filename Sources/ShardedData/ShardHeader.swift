/// What a shard says of itself.
public struct ShardHeader: Equatable, Sendable {
  public let path: String
  /// Number of samples.
  public let count: Int
  public let imageShape: ImageShape
  public let classNames: [String]
  /// Where the images come from.
  public let source: String
  /// Images that are stored, checked and read together.
  public let chunkRows: Int
}
