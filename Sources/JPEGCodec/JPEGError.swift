/// A JPEG picture that could not be decoded or encoded. The caller knows its name.
public struct JPEGError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Without a full stop: part of the caller's sentence.
  public let reason: String

  public var description: String { "Cannot use the JPEG: \(reason)." }
}
