/// An image as a source has it, and as a shard stores it.
public enum ImageContent: Sendable {
  /// The bytes of a JPEG or PNG file.
  case file([UInt8])
  /// `[height, width, channels]`.
  case pixels([UInt8], ImageShape)
}

/// Labelled images, from which shards are packed.
public protocol ImageSource {
  var count: Int { get }
  /// The name of label `i` is `classNames[i]`.
  var classNames: [String] { get }
  /// Where the images come from, for people; written into the shards.
  var origin: String { get }

  func label(at index: Int) -> Int32

  /// Names an image within the source: its file, where it has one.
  func key(at index: Int) -> String

  func content(at index: Int) throws(ShardError) -> ImageContent
}

extension ImageSource {
  public func key(at index: Int) -> String { "image \(index)" }
}
