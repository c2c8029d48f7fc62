/// Extents of an image of 8-bit samples, `[height, width, channels]` row-major.
public struct ImageShape: Equatable, Hashable, Codable, Sendable, CustomStringConvertible {
  public var height: Int
  public var width: Int
  public var channels: Int

  public init(height: Int, width: Int, channels: Int) {
    self.height = height
    self.width = width
    self.channels = channels
  }

  public var byteCount: Int { height * width * channels }

  public var description: String { "\(height) x \(width) x \(channels)" }
}
