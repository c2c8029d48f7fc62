/// How images are packed.
public struct PackOptions: Equatable, Sendable {
  public enum Format: Equatable, Sendable {
    /// Image files, as they are or, where the shorter side is longer than `shorterSide`, resized to
    /// that and written as JPEG of `quality`.
    case encoded(shorterSide: Int?, quality: Int)
    /// Pixels of one shape: the shorter side resized to `size`, then the square in the middle; nil:
    /// as they are. Files are decoded to `channels`, 1 or 3.
    case raw(size: Int?, channels: Int)
  }

  public enum Order: String, Sendable, CaseIterable {
    /// Shuffled by a fixed permutation, each class spread evenly over all shards.
    case stratified
    /// As the source has them.
    case asIs = "as-is"
  }

  public enum BadImages: String, Sendable, CaseIterable {
    case fail
    case skip
  }

  public var format: Format
  public var order = Order.stratified
  public var badImages = BadImages.fail
  /// Samples of a shard at most.
  public var shardSize = 10_000

  public init(format: Format) { self.format = format }

  /// Equal options give equal texts; written into the shards, so that a packing is only taken up
  /// again with the options that it was begun with.
  var text: String {
    let form =
      switch format {
      case .encoded(nil, _): "encoded, files as they are"
      case .encoded(let side?, let quality): "encoded, shorter side \(side), quality \(quality)"
      case .raw(let size, let channels):
        "raw, size \(size.map(String.init) ?? "as it is"), \(channels) channels of files"
      }
    return "\(form); \(order.rawValue); bad images: \(badImages.rawValue)"
  }
}
