/// A PNG picture that could not be decoded or written.
public struct PNGError: Error, Equatable, Sendable, CustomStringConvertible {
  public enum Operation: String, Sendable {
    case read
    case write
  }

  public let operation: Operation
  /// The file, or the name that the caller gave to the bytes.
  public let path: String
  public let reason: String

  public var description: String { "Cannot \(operation.rawValue) the PNG \(path): \(reason)." }
}
