import DataParallel

/// What `cae-dist checkpoint inspect` says.
public struct CheckpointSummary: Encodable, Sendable {
  public let step: Int
  public let samplesSeen: Int
  public let samplerPosition: Int
  /// Ranks that have written it; none of a merged file.
  public let worldSize: Int?
  /// Over names and bytes of all parameters in name order.
  public let parametersHash: String
  /// The same of both moments.
  public let momentsHash: String
  public let programVersion: String
  public let libraries: String
  public let sizeBytes: Int
  public let parameterCount: Int
  public let shapes: [String: [Int]]
  /// YAML.
  public let configuration: String

  /// - Throws: `CheckpointError` where it is incomplete or damaged.
  public init(path: String) throws {
    let state = try SavedState(path: try CheckpointListing.checkpoint(at: path))
    let header = try state.header
    step = header.step
    samplesSeen = header.samplesSeen
    samplerPosition = header.samplerPosition
    worldSize = state.worldSize
    programVersion = header.programVersion
    libraries = header.libraries
    configuration = header.configuration
    sizeBytes = StoredFiles.size(of: path)
    parametersHash = try state.hash(of: ["parameters"])
    momentsHash = try state.hash(of: ["moments/first", "moments/second"])
    var shapes: [String: [Int]] = [:]
    for name in try state.names(in: "parameters") {
      shapes[name] = try state.shape("parameters", name)
    }
    parameterCount = shapes.reduce(0) { $0 + $1.value.reduce(1, *) }
    self.shapes = shapes
  }

  public var lines: [String] {
    let writers = worldSize.map { "\($0) rank\($0 == 1 ? "" : "s") of " } ?? ""
    return [
      "step \(step), \(samplesSeen) samples seen, \(StoredFiles.text(bytes: sizeBytes))",
      "written by \(writers)cae-dist \(programVersion), \(libraries)",
      "\(parameterCount) parameters, hash \(parametersHash), of their moments \(momentsHash)",
    ]
      + shapes.sorted { $0.key < $1.key }.map {
        "\($0.key) (\($0.value.map(String.init).joined(separator: ", ")))"
      }
  }
}
