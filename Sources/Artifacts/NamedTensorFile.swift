import HDF5
public import TensorCore

/// A file of named tensors that is open for reading, whatever its format.
public protocol NamedTensorFile: AnyObject {
  var path: String { get }
  /// Whether there is a tensor of that name.
  func contains(_ name: String) throws(ArtifactError) -> Bool
  /// A tensor of numbers as floats.
  ///
  /// - Throws: Where there is none of that name, it is damaged, or has more than five dimensions.
  func tensor(_ name: String) throws(ArtifactError) -> Tensor
}

extension ArtifactReader: NamedTensorFile {}
extension SafetensorsReader: NamedTensorFile {}

/// Formats are told apart by the file's first bytes, not by its name.
public enum NamedTensorFiles {
  /// - Throws: Where the file is missing, or neither HDF5 nor safetensors.
  public static func open(_ path: String) throws(ArtifactError) -> any NamedTensorFile {
    if HDF5File.isHDF5(path) { return try ArtifactReader(path: path) }
    return try SafetensorsReader(path: path)
  }
}
