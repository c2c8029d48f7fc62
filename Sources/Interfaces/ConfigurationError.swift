/// A configuration that no model can be built from.
public struct ConfigurationError: Error, Sendable, CustomStringConvertible {
  /// Path of the key, such as `model.patchSize`.
  public let keyPath: String
  public let reason: String

  public init(_ keyPath: String, _ reason: String) {
    self.keyPath = keyPath
    self.reason = reason
  }

  public var description: String { "\(keyPath): \(reason)" }
}
