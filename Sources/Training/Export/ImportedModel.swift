import Artifacts
import Foundation
import Models
import NN
import TensorCore

/// A model in somebody's file: sizes from the shapes, names checked against the model's own.
struct ImportedModel {
  let file: WeightFile
  let names: ImportedNames
  let configuration: ResolvedConfiguration
  /// In the order of the model.
  let parameters: [Parameter]

  init(path: String, _ options: ModelImport.Options) throws {
    file = try WeightFile(path: path)
    names = ImportedNames(file.names)
    guard names.parameters["encoder.cls_token"] != nil else {
      throw TrainingError.input(
        path: path,
        reason: "it has neither encoder.cls_token nor cls_token, and is no model that is known")
    }
    let sizes = ImportedSizes(file, names)
    let text = try options.configurationText ?? file.metadata["configuration"] ?? ""
    let method = try ConfigurationTree.methodName(in: text, name: path)
    guard names.isEncoderOnly || method == nil || method == CAE.name else {
      throw TrainingError.input(
        path: path,
        reason:
          "it is a whole model of \(method ?? ""), and only those of cae are imported; export its "
          + "encoder with --format timm-safetensors")
    }
    configuration = try ConfigurationFile.describe(
      text, name: options.configuration ?? path, overrides: try sizes.overrides(options))
    parameters = try ImportedModel.parameters(sizes, configuration)
    try requireSameNames()
  }

  private static func parameters(
    _ sizes: ImportedSizes, _ configuration: ResolvedConfiguration
  ) throws -> [Parameter] {
    let model = configuration.training.model
    let tree = ParameterTree()
    if sizes.names.isEncoderOnly {
      _ = VisionTransformer("encoder", model, scheme: .xavier, in: tree)
    } else {
      let method = try configuration.methodConfiguration(of: CAE.self)
      try method.validate(for: model)
      let vocabulary = try sizes.shape("decoder.head.weight", count: 2)[0]
      _ = CAENetwork(model, method, vocabularySize: vocabulary, in: tree)
    }
    return tree.entries.map(\.parameter)
  }

  /// Every parameter must be there with its shape, and no other.
  private func requireSameNames() throws {
    for parameter in parameters {
      guard let origin = names.parameters[parameter.name] else {
        throw TrainingError.input(path: file.path, reason: "it has no \(parameter.name)")
      }
      let (shape, needed) = (try file.shape(origin.name), parameter.shape.dimensions)
      let isThird = origin != .tensor(origin.name)
      guard shape == (isThird ? [3 * needed[0]] : needed) else {
        throw TrainingError.input(
          path: file.path, reason: "\(origin.name) is \(shape), the model needs \(needed)")
      }
    }
    let known = Set(parameters.map(\.name))
    if let extra = names.parameters.keys.sorted().first(where: { !known.contains($0) }) {
      throw TrainingError.input(
        path: file.path,
        reason: "\(names.parameters[extra]?.name ?? extra) is no parameter of such a model")
    }
  }

  func values(_ name: String) throws -> [Float] {
    switch names.parameters[name] {
    case .tensor(let stored): return try file.tensor(stored).values
    case .third(let stored, let index):
      let all = try file.tensor(stored).values
      return Array(all[index * all.count / 3..<(index + 1) * all.count / 3])
    case nil: throw TrainingError.input(path: file.path, reason: "it has no \(name)")
    }
  }

  /// - Throws: Where keys have a bias, which the model has not.
  func requireKeysWithoutBias() throws {
    for name in names.jointBiases {
      let values = try file.tensor(name).values
      let largest = values[values.count / 3..<2 * values.count / 3].map(abs).max() ?? 0
      guard largest <= 1e-6 else {
        throw TrainingError.input(
          path: file.path,
          reason: "\(name) has a bias of the keys, up to \(largest), and CAE's attention has none")
      }
    }
  }

  /// Compares a stored position table with the fixed one.
  ///
  /// - Returns: The largest difference.
  /// - Throws: Where it is another table. Half precision's rounding is none.
  func positionDifference(_ name: String, width: Int) throws -> Float {
    let grid = configuration.training.model.grid
    let fixed = SinCosPositionEmbedding.table(grid: grid, width: width).values
    let stored = try file.tensor(name).values
    guard stored.count == fixed.count + width else {
      throw TrainingError.input(
        path: file.path, reason: "\(name) is not for \(grid) x \(grid) patches of width \(width)")
    }
    let rows = Array(stored[width...])
    let half = width / 2
    let turned = fixed.indices.map { place in
      let channel = place % width
      return fixed[place - channel + (channel + half) % width]
    }
    func largest(_ table: [Float]) -> Float {
      zip(rows, table).reduce(stored[..<width].map(abs).max() ?? 0) { max($0, abs($1.0 - $1.1)) }
    }
    let difference = largest(fixed)
    if difference <= 4e-3 { return difference }
    throw TrainingError.input(
      path: file.path,
      reason: largest(turned) <= 4e-3
        ? "\(name) has the column first, as MAE's table, and CAE's has the row first: its weights "
          + "would see every patch in another place"
        : "\(name) differs by up to \(difference) from the fixed sine-cosine table; weights that "
          + "have learned their positions cannot be used")
  }
}
