import DataParallel
import Files
import Foundation
import Models
import NN
import TensorCore

/// Weights of others as a file that a run starts from: `cae-dist import`.
public enum ModelImport {
  public struct Options: Sendable {
    /// Heads of the encoder, and of regressor and decoder: no shape tells them.
    public var heads: Int?
    public var decoderHeads: Int?
    /// Path of a configuration, for what shapes do not tell; sizes are the file's.
    public var configuration: String?

    public init(heads: Int? = nil, decoderHeads: Int? = nil, configuration: String? = nil) {
      (self.heads, self.decoderHeads, self.configuration) = (heads, decoderHeads, configuration)
    }

    var configurationText: String? {
      get throws { try configuration.map { try Files.readText($0) } }
    }
  }

  /// Reads exports, published CAE checkpoints (as safetensors or HDF5) and timm's vision
  /// transformers, and writes the layout of a merged checkpoint, without moments. Values stay what
  /// they are; position tables are the fixed ones.
  ///
  /// - Parameter output: Must not exist yet.
  /// - Returns: Sentences that say what was written.
  public static func write(
    _ path: String, _ options: Options = Options(), to output: String
  ) throws -> [String] {
    try OutputFile.requireNew(output)
    guard Files.exists(path), !Files.isDirectory(path) else {
      throw TrainingError.input(path: path, reason: "there is no such file")
    }
    let model = try ImportedModel(path: path, options)
    try model.requireKeysWithoutBias()
    var lines = try checkPositions(of: model)
    let header = CheckpointHeader(
      step: model.file.metadata["step"].flatMap { Int($0) } ?? 0, samplesSeen: 0,
      samplerPosition: 0, configuration: try model.configuration.yaml,
      programVersion: Version.current,
      libraries: "imported from \(URL(fileURLWithPath: path).lastPathComponent)")
    let names = model.parameters.map(\.name)
    let shapes = Dictionary(
      uniqueKeysWithValues: model.parameters.map { ($0.name, $0.shape.dimensions) })
    let buffers = try tables(of: model)
    let groups = [("parameters", names), ("buffers", buffers.keys.sorted())]
    try OutputFile.write(output) { temporary in
      try SavedState.write(
        header, groups, part: model.names.isEncoderOnly ? "encoder" : nil, to: temporary
      ) { group, name in
        if group == "buffers", let table = buffers[name] { return table }
        return (try model.values(name), shapes[name] ?? [])
      }
    }
    let what = model.names.isEncoderOnly ? "the encoder alone" : "the whole model"
    lines.append(
      "\(output): \(what), \(names.count) parameters, "
        + StoredFiles.text(bytes: try Files.size(of: output)))
    return lines
  }

  private static func checkPositions(of model: ImportedModel) throws -> [String] {
    let training = model.configuration.training
    var tables: [(String, Int)] = []
    if let name = model.names.positions { tables.append((name, training.model.embedDim)) }
    if let name = model.names.decoderPositions, !model.names.isEncoderOnly {
      let method = try model.configuration.methodConfiguration(of: CAE.self)
      tables.append((name, method.decoderDim))
    }
    return try tables.map { name, width in
      let difference = try model.positionDifference(name, width: width)
      return "\(name): largest difference from the fixed table \(difference)"
    }
  }

  private typealias Table = ([Float], [Int])

  private static func tables(of model: ImportedModel) throws -> [String: Table] {
    let training = model.configuration.training
    func table(_ width: Int) -> Table {
      PositionTable.published(grid: training.model.grid, width: width)
    }
    var result = ["encoder.pos_embed": table(training.model.embedDim)]
    if !model.names.isEncoderOnly {
      let method = try model.configuration.methodConfiguration(of: CAE.self)
      result["rd_pos_embed"] = table(method.decoderDim)
    }
    return result
  }
}
