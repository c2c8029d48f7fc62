import Models

/// Sizes of a model from the shapes of its tensors.
struct ImportedSizes {
  private let file: WeightFile
  let names: ImportedNames

  init(_ file: WeightFile, _ names: ImportedNames) { (self.file, self.names) = (file, names) }

  func shape(_ name: String, count: Int) throws -> [Int] {
    guard let origin = names.parameters[name] else {
      throw TrainingError.input(path: file.path, reason: "it has no \(name)")
    }
    let shape = try file.shape(origin.name)
    guard shape.count == count, shape.allSatisfy({ $0 > 0 }) else {
      throw TrainingError.input(
        path: file.path, reason: "\(origin.name) is \(shape), which no such model has")
    }
    return shape
  }

  /// How many different numbers follow a prefix.
  private func depth(_ prefix: String) -> Int {
    let indices = names.parameters.keys.filter { $0.hasPrefix(prefix) }
      .map { $0.dropFirst(prefix.count).prefix { $0 != "." } }
    return Set(indices).count
  }

  private func side(_ count: Int) -> Int? {
    let root = Int(Double(count).squareRoot().rounded())
    return root > 0 && root * root == count ? root : nil
  }

  /// `section.key=value` for each size; sizes go before what a configuration says.
  func overrides(_ options: ModelImport.Options) throws -> [String] {
    let width = try shape("encoder.cls_token", count: 3)[2]
    let patch = try shape("encoder.patch_embed.proj.weight", count: 4)
    let hidden = try shape("encoder.blocks.0.mlp.fc1.weight", count: 2)[0]
    var result = [
      "model.embedDim=\(width)", "model.channels=\(patch[1])", "model.patchSize=\(patch[2])",
      "model.depth=\(depth("encoder.blocks."))",
      "model.mlpRatio=\(Double(hidden) / Double(width))",
    ]
    if let positions = names.positions {
      let shape = try file.shape(positions)
      guard shape.count == 3, let grid = side(shape[1] - 1) else {
        throw TrainingError.input(
          path: file.path, reason: "\(positions) is \(shape), not of a square of patches")
      }
      result.append("model.imageSize=\(grid * patch[2])")
    }
    let isDescribed = options.configuration != nil || file.metadata["configuration"] != nil
    let stored = isDescribed ? [:] : file.metadata
    if let heads = options.heads.map(String.init) ?? stored["numHeads"] {
      result.append("model.numHeads=\(heads)")
    } else if !isDescribed {
      result.append("model.numHeads=\(width == 1024 ? 16 : 12)")
    }
    result += scale(
      "model.layerScaleInit", names.parameters["encoder.blocks.0.gamma_1"] != nil,
      stored["layerScaleInit"] ?? (width == 1024 ? "1e-5" : "0.1"), isDescribed)
    for key in ["mean", "standardDeviation", "validationCropShare"] {
      if let text = stored[key] { result.append("data.\(key)=\(text)") }
    }
    return try result + (names.isEncoderOnly ? [] : decoder(options, isDescribed))
  }

  /// Where a layer scale begins is not seen in a file, only whether there is one.
  private func scale(
    _ key: String, _ exists: Bool, _ value: String, _ isDescribed: Bool
  ) -> [String] {
    exists ? (isDescribed ? [] : ["\(key)=\(value)"]) : ["\(key)=0"]
  }

  private func decoder(_ options: ModelImport.Options, _ isDescribed: Bool) throws -> [String] {
    let width = try shape("mask_token", count: 3)[2]
    var result = [
      "method.decoderDim=\(width)", "method.decoderDepth=\(depth("decoder.decoder_blocks."))",
      "method.regressorDepth=\(depth("regresser.regressor_blocks."))",
    ]
    if let heads = options.decoderHeads {
      result.append("method.decoderHeads=\(heads)")
    } else if !isDescribed {
      result.append("method.decoderHeads=\(width == 1024 ? 16 : 12)")
    }
    let gamma = names.parameters["regresser.regressor_blocks.0.gamma_1_cross"]
    return result + scale("method.decoderLayerScaleInit", gamma != nil, "0.1", isDescribed)
  }
}
