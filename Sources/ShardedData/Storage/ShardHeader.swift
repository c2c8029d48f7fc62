/// What a shard says of itself.
public struct ShardHeader: Equatable, Sendable {
  public let path: String
  public let layout: ShardLayout
  /// Number of samples.
  public let count: Int
  /// Of all images; nil where each has its own.
  public let imageShape: ImageShape?
  /// Empty where the file only numbers its classes.
  public let classNames: [String]
  /// Where the images come from.
  public let source: String
  /// Images that are stored, checked and read together.
  public let chunkRows: Int
}
