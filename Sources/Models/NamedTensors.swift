public import Interfaces
public import TensorCore

/// Tensors of a published model by name, wherever they are kept: models know no files.
public struct NamedTensors {
  /// The file or folder, for error messages.
  public let source: String
  /// Of the configuration that names it.
  private let key: String
  private let find: (String) throws(ConfigurationError) -> Tensor?

  /// - Parameter find: The tensor of a name; nil where there is none.
  public init(
    source: String, key: String = "method.tokenizer",
    _ find: @escaping (String) throws(ConfigurationError) -> Tensor?
  ) {
    (self.source, self.key) = (source, key)
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
    ConfigurationError(key, "\(name) \(what) in \(source)")
  }

  /// - Throws: Where it is missing or has another shape.
  func required(_ name: String, _ shape: Shape) throws(ConfigurationError) -> Tensor {
    let tensor = try required(name)
    guard tensor.shape == shape else {
      throw mismatch(name, "is \(tensor.shape), which should be \(shape),")
    }
    return tensor
  }
}
