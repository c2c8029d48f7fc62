import HDF5
public import TensorCore

/// Reads named tensors and attributes of an HDF5 file: references, tokenizers, exports.
public final class ArtifactReader {
  public let path: String
  private let file: HDF5File

  /// - Throws: Where the file is missing or not HDF5.
  public init(path: String) throws(ArtifactError) {
    self.path = path
    file = try ArtifactReader.wrap(path) { () throws(HDF5Error) in
      try HDF5File(path: path, .readOnly)
    }
  }

  /// Whether a dataset or group of that name exists.
  public func contains(_ name: String) throws(ArtifactError) -> Bool {
    try wrapped { file throws(HDF5Error) in try file.root.exists(name) }
  }

  /// Names of the members of a group, sorted.
  public func names(in group: String) throws(ArtifactError) -> [String] {
    try wrapped { file throws(HDF5Error) in try file.root.group(group).memberNames() }
  }

  /// Extents of a dataset.
  public func shape(_ name: String) throws(ArtifactError) -> [Int] {
    try wrapped { file throws(HDF5Error) in try file.root.dataset(name).shape }
  }

  /// Names of the members of the root, sorted.
  public var names: [String] {
    get throws(ArtifactError) {
      try wrapped { file throws(HDF5Error) in try file.root.memberNames() }
    }
  }

  /// A dataset of numbers as floats.
  ///
  /// - Throws: Also where it has more than five dimensions.
  public func tensor(_ name: String) throws(ArtifactError) -> Tensor {
    let (values, shape): ([Float], [Int]) = try wrapped { file throws(HDF5Error) in
      let dataset = try file.root.dataset(name)
      return (try dataset.read(as: Float.self), dataset.shape)
    }
    guard shape.count <= Shape.maximumRank else {
      throw ArtifactError(path: path, reason: "\(name) has \(shape.count) dimensions")
    }
    return Tensor(values, shape: Shape(shape))
  }

  /// A dataset of numbers as integers, and its shape.
  public func integers(_ name: String) throws(ArtifactError) -> (values: [Int64], shape: [Int]) {
    try wrapped { file throws(HDF5Error) in
      let dataset = try file.root.dataset(name)
      return (try dataset.read(as: Int64.self), dataset.shape)
    }
  }

  /// An attribute of the root, or of the group or dataset `object`.
  public func integer(_ attribute: String, of object: String? = nil) throws(ArtifactError) -> Int {
    try wrapped { file throws(HDF5Error) in
      try ArtifactReader.holder(file, object).integerAttribute(attribute)
    }
  }

  public func double(_ attribute: String, of object: String? = nil) throws(ArtifactError) -> Double
  {
    try wrapped { file throws(HDF5Error) in
      try ArtifactReader.holder(file, object).doubleAttribute(attribute)
    }
  }

  /// Whether the root has an attribute of that name.
  public func hasAttribute(_ name: String) throws(ArtifactError) -> Bool {
    try wrapped { file throws(HDF5Error) in try file.root.hasAttribute(name) }
  }

  public func string(_ attribute: String) throws(ArtifactError) -> String {
    try wrapped { file throws(HDF5Error) in try file.root.stringAttribute(attribute) }
  }

  public func floats(_ attribute: String) throws(ArtifactError) -> [Float] {
    try wrapped { file throws(HDF5Error) in try file.root.floatsAttribute(attribute) }
  }

  private static func holder(
    _ file: HDF5File, _ object: String?
  ) throws(HDF5Error) -> HDF5Object {
    guard let object else { return file.root }
    if case .dataset = try file.root.memberKind(object) { return try file.root.dataset(object) }
    return try file.root.group(object)
  }

  private func wrapped<Result>(
    _ body: (HDF5File) throws(HDF5Error) -> Result
  ) throws(ArtifactError) -> Result {
    let file = self.file
    return try ArtifactReader.wrap(path) { () throws(HDF5Error) in try body(file) }
  }

  static func wrap<Result>(
    _ path: String, _ body: () throws(HDF5Error) -> Result
  ) throws(ArtifactError) -> Result {
    do { return try body() } catch {
      throw ArtifactError(path: path, reason: error.description)
    }
  }
}
