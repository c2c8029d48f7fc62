import DataParallel

/// What `cae-dist checkpoint inspect` says.
public struct CheckpointSummary: Encodable, Sendable {
  public let step: Int
  public let samplesSeen: Int
  /// Over names and bytes of all parameters in name order.
  public let parametersHash: String
  public let programVersion: String
  public let parameterCount: Int
  public let shapes: [String: [Int]]

  /// - Throws: `CheckpointError` where it is incomplete or damaged.
  public init(path: String) throws {
    let reader = try CheckpointReader(path: path)
    let (shapes, hash) = try reader.parametersSummary()
    step = reader.header.step
    samplesSeen = reader.header.samplesSeen
    programVersion = reader.header.programVersion
    parametersHash = hash
    parameterCount = shapes.reduce(0) { $0 + $1.shape.reduce(1, *) }
    self.shapes = Dictionary(uniqueKeysWithValues: shapes.map { ($0.name, $0.shape) })
  }

  public var lines: [String] {
    [
      "step \(step), \(samplesSeen) samples seen, written by cae-dist \(programVersion)",
      "\(parameterCount) parameters, hash \(parametersHash)",
    ]
      + shapes.sorted { $0.key < $1.key }.map {
        "\($0.key) (\($0.value.map(String.init).joined(separator: ", ")))"
      }
  }
}
