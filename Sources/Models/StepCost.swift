/// Matrix products of one CAE training step, counted from sizes alone.
///
/// 2 x M x N x K of every product of a straightforward step: the patch embedding of the whole
/// image; the forward pass of what is trained three times (forward, input gradient, weight
/// gradient; patches get no gradient); the alignment branch once; products of the attention
/// included. Nothing is saved by tricks, so the figure compares implementations.
public struct StepCost: Sendable {
  /// A dense layer: `rows` of one image through `[outputs, inputs]`.
  public struct DenseLayer: Sendable, Hashable {
    public let rows: Int
    public let inputs: Int
    public let outputs: Int

    var flops: Double { 2 * Double(rows) * Double(inputs) * Double(outputs) }
  }

  /// Trained layers with how often they occur.
  public private(set) var trained: [DenseLayer: Int] = [:]
  /// Floating-point operations of one image.
  public private(set) var flopsPerImage = 0.0
  /// Those of them that are products of queries, keys and values.
  public private(set) var attentionFlopsPerImage = 0.0
  /// Values of one image that pass through blocks, each as often as its block's products do.
  public private(set) var blockValuesPerImage = 0.0

  private let model: VisionTransformerConfiguration
  private let method: CAE.Configuration

  public init(
    _ model: VisionTransformerConfiguration, _ method: CAE.Configuration, vocabularySize: Int
  ) {
    self.model = model
    self.method = method
    let masked = method.numMaskedPatches
    let visible = model.patchCount - masked
    let (width, wide) = (model.embedDim, method.decoderDim)
    let patches = DenseLayer(
      rows: model.patchCount, inputs: model.patchValues, outputs: width)
    flopsPerImage += 3 * patches.flops
    addBlocks(model.depth, tokens: visible + 1, width: width, times: 3)
    addBlocks(model.depth, tokens: masked + 1, width: width, times: 1)
    if wide != width {
      add(rows: visible + 1, inputs: width, outputs: wide, count: 1, times: 3)
      add(rows: masked + 1, inputs: width, outputs: wide, count: 1, times: 1)
    }
    addRegressor(masked: masked, visible: visible, width: wide)
    addBlocks(method.decoderDepth, tokens: masked, width: wide, times: 3)
    add(rows: masked, inputs: wide, outputs: vocabularySize, count: 1, times: 3)
  }

  private mutating func addBlocks(_ depth: Int, tokens: Int, width: Int, times: Double) {
    let hidden = Int(Double(width) * model.mlpRatio)
    add(rows: tokens, inputs: width, outputs: 3 * width, count: depth, times: times)
    add(rows: tokens, inputs: width, outputs: width, count: depth, times: times)
    add(rows: tokens, inputs: width, outputs: hidden, count: depth, times: times)
    add(rows: tokens, inputs: hidden, outputs: width, count: depth, times: times)
    addAttention(queries: tokens, keys: tokens, width: width, count: depth, times: times)
    blockValuesPerImage += times * Double(depth * tokens * width)
  }

  private mutating func addRegressor(masked: Int, visible: Int, width: Int) {
    let (depth, keys) = (method.regressorDepth, masked + visible)
    let hidden = Int(Double(width) * model.mlpRatio)
    add(rows: masked, inputs: width, outputs: width, count: 2 * depth, times: 3)
    add(rows: keys, inputs: width, outputs: width, count: 2 * depth, times: 3)
    add(rows: masked, inputs: width, outputs: hidden, count: depth, times: 3)
    add(rows: masked, inputs: hidden, outputs: width, count: depth, times: 3)
    addAttention(queries: masked, keys: keys, width: width, count: depth, times: 3)
    blockValuesPerImage += 3 * Double(depth * keys * width)
  }

  private mutating func add(rows: Int, inputs: Int, outputs: Int, count: Int, times: Double) {
    let layer = DenseLayer(rows: rows, inputs: inputs, outputs: outputs)
    flopsPerImage += times * Double(count) * layer.flops
    if times == 3 { trained[layer, default: 0] += count }
  }

  private mutating func addAttention(
    queries: Int, keys: Int, width: Int, count: Int, times: Double
  ) {
    let flops = times * Double(count) * 4 * Double(queries) * Double(keys) * Double(width)
    flopsPerImage += flops
    attentionFlopsPerImage += flops
  }
}
