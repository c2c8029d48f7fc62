import Artifacts
import TensorCore

/// Tensors of a file of weights by the names that it uses: safetensors, a merged checkpoint, or
/// HDF5 with the tensors in its root.
struct WeightFile {
  let path: String
  let metadata: [String: String]
  /// Where each tensor lies in the file.
  private let places: [String: String]
  private let file: any NamedTensorFile

  init(path: String) throws {
    self.path = path
    file = try NamedTensorFiles.open(path)
    if let reader = file as? SafetensorsReader {
      metadata = reader.metadata
      places = Dictionary(uniqueKeysWithValues: reader.names.map { ($0, $0) })
      return
    }
    guard let reader = file as? ArtifactReader else {
      throw TrainingError.input(path: path, reason: "it is no file of weights")
    }
    metadata =
      try reader.hasAttribute("configuration")
      ? [
        "configuration": try reader.string("configuration"),
        "step": "\(try reader.integer("step"))",
      ] : [:]
    var places: [String: String] = [:]
    if try reader.contains("parameters") {
      for group in ["parameters", "buffers"] where try reader.contains(group) {
        for name in try reader.names(in: group) { places[name] = "\(group)/\(name)" }
      }
    } else {
      for name in try reader.names { places[name] = name }
    }
    self.places = places
  }

  var names: [String] { places.keys.sorted() }

  func shape(_ name: String) throws -> [Int] {
    if let reader = file as? ArtifactReader { return try reader.shape(places[name] ?? name) }
    return (file as? SafetensorsReader)?.shape(name) ?? []
  }

  func tensor(_ name: String) throws -> Tensor { try file.tensor(places[name] ?? name) }
}
