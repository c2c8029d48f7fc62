public import Interfaces
public import TensorCore

/// Tensors of a published model by name, wherever they are kept: models know no files.
public struct NamedTensors {
  /// The file or folder, for error messages.
  public let source: String
  private let find: (String) throws(ConfigurationError) -> Tensor?

  /// - Parameter find: The tensor of a name; nil where there is none.
  public init(
    source: String, _ find: @escaping (String) throws(ConfigurationError) -> Tensor?
  ) {
    self.source = source
    self.find = find
  }

  public subscript(_ name: String) -> Tensor? {
    get throws(ConfigurationError) { try find(name) }
  }

  /// - Throws: Where there is no tensor of that name.
  func required(_ name: String) throws(ConfigurationError) -> Tensor {
    guard let tensor = try find(name) else { throw mismatch(name, "is missing") }
    return tensor
  }

  /// The sentence about a tensor that does not fit.
  func mismatch(_ name: String, _ what: String) -> ConfigurationError {
    ConfigurationError("method.tokenizer", "\(name) \(what) in \(source)")
  }
}
