/// Labelled images of one shape, from which shards are packed.
public protocol ImageSource {
  var count: Int { get }
  var imageShape: ImageShape { get }
  /// The name of label `i` is `classNames[i]`.
  var classNames: [String] { get }
  /// Where the images come from, for people; written into the shards.
  var origin: String { get }

  func label(at index: Int) -> Int32

  /// The pixels of an image, `[height, width, channels]`.
  func image(at index: Int) throws(ShardError) -> [UInt8]
}
