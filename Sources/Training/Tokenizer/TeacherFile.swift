import Artifacts
public import Interfaces
public import Models
import TensorCore

/// Files of teachers, their tensors under their published names, as safetensors or in HDF5: the visual
/// tower of CLIP, or EfficientNet-Lite0.
public enum TeacherFile {
  /// - Parameters:
  ///   - key: Of the configuration or the command line, that names the file.
  ///   - grid: Patches along one side of the model's image: the teacher's picture has the size that
  ///     gives as many features.
  /// - Throws: Where the file is missing, damaged or something else, or images have not three
  ///   channels.
  public static func open(
    _ path: String, key: String, channels: Int, grid: Int
  ) throws(ConfigurationError) -> any FeatureTeacher {
    guard !path.isEmpty else {
      throw ConfigurationError(
        key,
        "names no file; Scripts/convert/clip-visual.py and efficientnet-lite0.py make one of published "
          + "weights")
    }
    try requireColour(channels)
    let file: any NamedTensorFile
    do { file = try NamedTensorFiles.open(path) } catch {
      throw ConfigurationError(key, error.description)
    }
    return try teacher(of: file, key: key, grid: grid).teacher
  }

  static func requireColour(_ channels: Int) throws(ConfigurationError) {
    guard channels == 3 else {
      throw ConfigurationError(
        "model.channels", "is \(channels), but the teacher sees colour images of 3")
    }
  }

  /// - Parameter prefix: Of the tensors' names in this file.
  /// - Returns: With the names of the tensors that it is made of, in ascending order.
  static func teacher(
    of file: any NamedTensorFile, prefix: String = "", key: String, grid: Int
  ) throws(ConfigurationError) -> (teacher: any FeatureTeacher, names: [String]) {
    var names: Set<String> = []
    let tensors = NamedTensors(source: file.path, key: key) { (name) throws(ConfigurationError) in
      do throws(ArtifactError) {
        guard try file.contains(prefix + name) else { return nil }
        names.insert(name)
        return try file.tensor(prefix + name)
      } catch {
        throw ConfigurationError(key, error.description)
      }
    }
    let teacher = try teacher(tensors, key: key, grid: grid)
    // The model keeps the weights in a layout of its own; what they were read into is not needed.
    MemoryPool.shared.trim()
    return (teacher, names.sorted())
  }

  private static func teacher(
    _ tensors: NamedTensors, key: String, grid: Int
  ) throws(ConfigurationError) -> any FeatureTeacher {
    if try tensors["_conv_stem.weight"] != nil {
      return try EfficientNetLite(tensors, grid: grid)
    }
    for name in ["conv1.weight", "visual.conv1.weight"] where try tensors[name] != nil {
      return try CLIPVisualTower(tensors, grid: grid)
    }
    throw ConfigurationError(
      key,
      "\(tensors.source) has the weights of no known teacher: neither _conv_stem.weight of "
        + "EfficientNet-Lite0 nor conv1.weight of CLIP's visual tower")
  }
}
