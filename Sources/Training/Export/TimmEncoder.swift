import Models
import TensorCore

/// The encoder under the names of timm's VisionTransformer.
///
/// timm has one bias for queries, keys and values, and calls the layer scale `ls1`, `ls2`:
///
///     qkv.bias = [q_bias ; 0 ; v_bias], ls1.gamma = gamma_1, ls2.gamma = gamma_2
///
/// Folded, `W <- diag(gamma) W` and `b <- gamma b` in `attn.proj` and `mlp.fc2`, rounded once.
struct TimmEncoder {
  let model: VisionTransformerConfiguration
  let foldsLayerScale: Bool
  /// A parameter of the model by its published name without `encoder.`; nil where there is none.
  let parameter: (String) throws -> Tensor?
  let path: String

  private func required(_ name: String) throws -> Tensor {
    guard let tensor = try parameter(name) else {
      throw TrainingError.input(
        path: path, reason: "it has no encoder.\(name), and no vision transformer to export")
    }
    return tensor
  }

  func tensors() throws -> [(name: String, tensor: Tensor)] {
    let (values, shape) = PositionTable.published(grid: model.grid, width: model.embedDim)
    var result: [(String, Tensor)] = [
      ("cls_token", try required("cls_token")),
      ("pos_embed", Tensor(values, shape: Shape(shape))),
    ]
    for name in ["patch_embed.proj.weight", "patch_embed.proj.bias"] {
      result.append((name, try required(name)))
    }
    for index in 0..<model.depth { result += try block("blocks.\(index)") }
    for name in ["norm.weight", "norm.bias"] { result.append((name, try required(name))) }
    return result
  }

  private func block(_ name: String) throws -> [(String, Tensor)] {
    let scales = [try parameter("\(name).gamma_1"), try parameter("\(name).gamma_2")]
    var result: [(String, Tensor)] = []
    func copy(_ layer: String, scale: Tensor? = nil) throws {
      for kind in ["weight", "bias"] {
        let tensor = try required("\(name).\(layer).\(kind)")
        result.append(("\(name).\(layer).\(kind)", scale.map { scaled(tensor, by: $0) } ?? tensor))
      }
    }
    let (attention, mlp) = foldsLayerScale ? (scales[0], scales[1]) : (nil, nil)
    try copy("norm1")
    result.append(("\(name).attn.qkv.weight", try required("\(name).attn.qkv.weight")))
    let q = try required("\(name).attn.q_bias").values
    let v = try required("\(name).attn.v_bias").values
    let bias = q + [Float](repeating: 0, count: q.count) + v
    result.append(("\(name).attn.qkv.bias", Tensor(bias, shape: [bias.count])))
    try copy("attn.proj", scale: attention)
    try copy("norm2")
    try copy("mlp.fc1")
    try copy("mlp.fc2", scale: mlp)
    guard !foldsLayerScale else { return result }
    for (index, scale) in scales.enumerated() {
      if let scale { result.append(("\(name).ls\(index + 1).gamma", scale)) }
    }
    return result
  }

  /// Each row times its factor.
  private func scaled(_ tensor: Tensor, by scale: Tensor) -> Tensor {
    let (values, factors) = (tensor.values, scale.values)
    let row = values.count / factors.count
    return Tensor(values.indices.map { values[$0] * factors[$0 / row] }, shape: tensor.shape)
  }

  /// timm's models with their width, depth and heads.
  private static let published = [
    ("vit_tiny_patch16_224", 192, 12, 3), ("vit_small_patch16_224", 384, 12, 6),
    ("vit_base_patch16_224", 768, 12, 12), ("vit_large_patch16_224", 1024, 24, 16),
  ]

  /// One line of Python that loads the file into timm.
  func python(hasLayerScale: Bool, file: String) -> String {
    let known = TimmEncoder.published.first { $0.1 == model.embedDim && $0.2 == model.depth }
    let base = known ?? TimmEncoder.published[2]
    var arguments = ["'\(base.0)'", "num_classes=0"]
    for (key, value, usual) in [
      ("img_size", model.imageSize, 224), ("patch_size", model.patchSize, 16),
      ("in_chans", model.channels, 3), ("embed_dim", model.embedDim, base.1),
      ("depth", model.depth, base.2), ("num_heads", model.numHeads, base.3),
    ] where value != usual {
      arguments.append("\(key)=\(value)")
    }
    if model.mlpRatio != 4 { arguments.append("mlp_ratio=\(model.mlpRatio)") }
    if hasLayerScale { arguments.append("init_values=\(model.layerScaleInit)") }
    return "model = timm.create_model(\(arguments.joined(separator: ", "))); "
      + "model.load_state_dict(safetensors.torch.load_file('\(file)'))"
  }
}
