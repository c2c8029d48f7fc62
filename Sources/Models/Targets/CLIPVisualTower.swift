public import Interfaces
import NN
public import TensorCore

/// The visual tower of CLIP, a vision transformer whose final norm and projection are applied to every
/// token, as CAE v2 does.
///
/// A patch embedding without bias; class token and learned positions; a norm; pre-norm blocks with
/// biases on queries, keys and values and the quick GELU; a norm; a projection. Norms have an epsilon
/// of 1e-5. All in Float; sizes are those of the weights. ViT-B/16: 12 blocks of width 768, 197 tokens,
/// features of 512 values.
///
/// Where the model has another number of patches than the weights' table of positions, the table is
/// resized bilinearly.
///
/// - SeeAlso: Radford et al., arXiv:2103.00020; github.com/openai/CLIP, `clip/model.py`.
public final class CLIPVisualTower: FeatureTeacher, @unchecked Sendable {
  // Sendable: constant after the initializer; a pass has a tape of its own.
  public let width: Int
  public let grid: Int
  public let view: ViewSpecification
  private let embedding: PatchEmbedding
  private let blocks: [Block]
  private let normBefore: Norm
  private let normAfter: Norm
  private let projection: Parameter
  private let parameters: FlatBuffer

  /// Width of a head in published weights, which do not say it.
  private static let headWidth = 64
  private static let epsilon: Float = 1e-5

  /// - Parameters:
  ///   - tensors: Named as in the published archive, with or without `visual.` before.
  ///   - grid: Patches along one side of the image.
  ///   - heads: Nil: a head for 64 of the width.
  /// - Throws: Where a tensor is missing or has a shape that does not fit the others.
  public init(
    _ tensors: NamedTensors, grid: Int, heads: Int? = nil
  ) throws(ConfigurationError) {
    let weights = try Weights(tensors)
    let kernel = try weights.any("conv1.weight")
    guard kernel.shape.rank == 4, kernel.shape[1] == 3, kernel.shape[2] == kernel.shape[3] else {
      throw tensors.mismatch(
        "conv1.weight", "is \(kernel.shape), no patch embedding of colour images,")
    }
    let (inner, patch) = (kernel.shape[0], kernel.shape[2])
    let heads = heads ?? max(1, inner / CLIPVisualTower.headWidth)
    guard inner % heads == 0 else {
      throw tensors.mismatch(
        "conv1.weight", "is of width \(inner), which \(heads) heads do not divide,")
    }
    embedding = try PatchEmbedding(weights, kernel: kernel, grid: grid)
    normBefore = try Norm(weights, "ln_pre", inner)
    var blocks: [Block] = []
    while true {
      let name = "transformer.resblocks.\(blocks.count)"
      // By two of its tensors, so that one that is missing is noticed.
      let isThere = (
        try weights.contains("\(name).ln_1.weight"),
        try weights.contains("\(name).attn.in_proj_weight")
      )
      guard isThere.0 || isThere.1 || blocks.isEmpty else { break }
      blocks.append(try Block(weights, name, width: inner, heads: heads))
    }
    self.blocks = blocks
    normAfter = try Norm(weights, "ln_post", inner)
    let proj = try weights.any("proj")
    guard proj.shape.rank == 2, proj.shape[0] == inner else {
      throw tensors.mismatch("proj", "is \(proj.shape), no projection from \(inner) values,")
    }
    width = proj.shape[1]
    projection = weights.add("proj", proj.transposed)
    parameters = weights.buffer()
    self.grid = grid
    view = ViewSpecification(
      size: grid * patch, filter: .bicubic, mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
      standardDeviation: [0.268_629_54, 0.261_302_58, 0.275_777_11])
  }

  public var flopsPerImage: Double {
    let (tokens, inner) = (Double(1 + grid * grid), Double(normBefore.weight.count))
    let products = blocks.reduce(0.0) {
      $0 + 4 * inner * inner + 2 * inner * Double($1.widening.bias.count)
    }
    let attention = 2 * tokens * tokens * inner * Double(blocks.count)
    return 2
      * ((tokens - 1) * Double(embedding.kernel.count) + tokens * products + attention
        + tokens * inner * Double(width))
  }

  public func features(of images: Tensor, pool: ThreadPool) -> Tensor {
    ofEachImage(of: images, pool: pool) { image, pool, features in
      let tape = Tape(parameters: parameters, pool: pool)
      let values = tape.withoutGradient { forward(image, tape).value }
      withExtendedLifetime(values) {
        features.update(from: values.pointer, count: values.count)
      }
    }
  }

  private func forward(_ images: Tensor, _ tape: Tape) -> Variable {
    var x = normBefore(embedding(images, tape), tape)
    for block in blocks { x = block(x, tape) }
    return tape.linear(normAfter(x, tape), weight: projection)
  }

  // MARK: Parts

  private struct Norm {
    let weight: Parameter
    let bias: Parameter

    init(_ weights: Weights, _ name: String, _ width: Int) throws(ConfigurationError) {
      weight = try weights.add("\(name).weight", [width])
      bias = try weights.add("\(name).bias", [width])
    }

    func callAsFunction(_ x: Variable, _ tape: Tape) -> Variable {
      tape.layerNorm([x], weight: weight, bias: bias, epsilon: CLIPVisualTower.epsilon)
    }
  }

  private struct Dense {
    let weight: Parameter
    let bias: Parameter

    init(
      _ weights: Weights, _ weight: String, _ bias: String, inputs: Int, outputs: Int
    ) throws(ConfigurationError) {
      self.weight = try weights.add(weight, [outputs, inputs])
      self.bias = try weights.add(bias, [outputs])
    }

    func callAsFunction(_ x: Variable, _ tape: Tape) -> Variable {
      tape.linear(x, weight: weight, bias: [BiasSlice(bias)])
    }
  }

  /// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
  private struct Block {
    let heads: Int
    let width: Int
    let norms: [Norm]
    let qkv: Dense
    let projection: Dense
    let widening: Dense
    let narrowing: Dense

    init(
      _ weights: Weights, _ name: String, width: Int, heads: Int
    ) throws(ConfigurationError) {
      (self.width, self.heads) = (width, heads)
      norms = [
        try Norm(weights, "\(name).ln_1", width), try Norm(weights, "\(name).ln_2", width),
      ]
      qkv = try Dense(
        weights, "\(name).attn.in_proj_weight", "\(name).attn.in_proj_bias", inputs: width,
        outputs: 3 * width)
      projection = try Dense(
        weights, "\(name).attn.out_proj.weight", "\(name).attn.out_proj.bias", inputs: width,
        outputs: width)
      let hidden = try weights.any("\(name).mlp.c_fc.bias").count
      widening = try Dense(
        weights, "\(name).mlp.c_fc.weight", "\(name).mlp.c_fc.bias", inputs: width,
        outputs: hidden)
      narrowing = try Dense(
        weights, "\(name).mlp.c_proj.weight", "\(name).mlp.c_proj.bias", inputs: hidden,
        outputs: width)
    }

    func callAsFunction(_ x: Variable, _ tape: Tape) -> Variable {
      let joint = qkv(norms[0](x, tape), tape)
      let attended = tape.attention(
        q: AttentionInput(joint), k: AttentionInput(joint, column: width),
        v: AttentionInput(joint, column: 2 * width), heads: heads, headDim: width / heads)
      let y = tape.residual(x, projection(attended, tape), gamma: nil, sampleScale: nil)
      let wide = widening(norms[1](y, tape), tape)
      GELUKernel.quick(tape.pool, x: wide.value.pointer, count: wide.value.count)
      return tape.residual(y, narrowing(wide, tape), gamma: nil, sampleScale: nil)
    }
  }

  private struct PatchEmbedding {
    let kernel: Parameter
    let patch: Int
    /// Class token with its position.
    let classToken: Parameter
    /// `[grid * grid, C]`.
    let positions: Tensor
    let grid: Int

    init(_ weights: Weights, kernel: Tensor, grid: Int) throws(ConfigurationError) {
      let width = kernel.shape[0]
      (patch, self.grid) = (kernel.shape[2], grid)
      self.kernel = weights.add("conv1.weight", kernel)
      let token = try weights.tensor("class_embedding", [width])
      let table = try weights.any("positional_embedding")
      let side = table.shape.rank == 2 ? Int(Double(max(table.shape[0], 1) - 1).squareRoot()) : 0
      guard side > 0, table.shape == [side * side + 1, width] else {
        throw weights.tensors.mismatch(
          "positional_embedding", "is \(table.shape), no square of positions of width \(width),")
      }
      let first = zip(token.values, table.values).map { $0 + $1 }
      classToken = weights.add("class_embedding", Tensor(first, shape: [1, 1, width]))
      positions = Tensor(
        Bilinear.resized(
          Array(table.values.dropFirst(width)), side: side, to: grid, columns: width),
        shape: [grid * grid, width])
    }

    func callAsFunction(_ images: Tensor, _ tape: Tape) -> Variable {
      let (batch, count) = (images.shape[0], grid * grid)
      let patches = (0..<batch).flatMap { _ in (0..<count).map(Int32.init) }
      let pixels = Tensor(uninitialized: [batch, count, kernel.count / kernel.shape[0]])
      patches.withUnsafeBufferPointer { indices in
        guard let base = indices.baseAddress else { return }
        TokenKernel.extractPatches(
          tape.pool, images: images.pointer, channels: images.shape[1],
          imageSize: images.shape[2], patchSize: patch, positions: base, batch: batch,
          count: count, output: pixels.pointer)
      }
      return tape.addPositions(
        tape.linear(.constant(pixels), weight: kernel),
        Positions(table: positions, indices: patches), prefix: classToken)
    }
  }

  /// Takes tensors into one flat layout.
  private final class Weights {
    let tensors: NamedTensors
    private let tree = ParameterTree()
    private var values: [(Parameter, Tensor)] = []
    private let prefix: String

    init(_ tensors: NamedTensors) throws(ConfigurationError) {
      self.tensors = tensors
      prefix = try tensors["visual.conv1.weight"] == nil ? "" : "visual."
    }

    func contains(_ name: String) throws(ConfigurationError) -> Bool {
      try tensors[prefix + name] != nil
    }

    func any(_ name: String) throws(ConfigurationError) -> Tensor {
      try tensors.required(prefix + name)
    }

    func tensor(_ name: String, _ shape: Shape) throws(ConfigurationError) -> Tensor {
      try tensors.required(prefix + name, shape)
    }

    func add(_ name: String, _ shape: Shape) throws(ConfigurationError) -> Parameter {
      add(name, try tensor(name, shape))
    }

    func add(_ name: String, _ tensor: Tensor) -> Parameter {
      let parameter = tree.add(name, tensor.shape, .constant(0))
      values.append((parameter, tensor))
      return parameter
    }

    func buffer() -> FlatBuffer {
      let buffer = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "teacher")
      for (parameter, tensor) in values {
        buffer.pointer(parameter).update(from: tensor.pointer, count: tensor.count)
      }
      return buffer
    }
  }
}

extension Tensor {
  /// Of a matrix.
  fileprivate var transposed: Tensor {
    let (rows, columns) = (shape[0], shape[1])
    let result = Tensor(uninitialized: [columns, rows])
    for row in 0..<rows {
      for column in 0..<columns {
        result.pointer[column * rows + row] = pointer[row * columns + column]
      }
    }
    return result
  }
}

/// Square tables of vectors.
private enum Bilinear {
  /// PyTorch's bilinear interpolation with `align_corners` false.
  ///
  /// - Parameter table: `[side, side, columns]`.
  static func resized(_ table: [Float], side: Int, to size: Int, columns: Int) -> [Float] {
    guard size != side else { return table }
    let scale = Float(side) / Float(size)
    let places = (0..<size).map { index -> (low: Int, high: Int, share: Float) in
      let place = max(0, (Float(index) + 0.5) * scale - 0.5)
      let low = min(Int(place), side - 1)
      return (low, min(low + 1, side - 1), place - Float(low))
    }
    var result: [Float] = []
    result.reserveCapacity(size * size * columns)
    for y in places {
      for x in places {
        for column in 0..<columns {
          func value(_ row: Int, _ place: Int) -> Float {
            table[(row * side + place) * columns + column]
          }
          let top = value(y.low, x.low) * (1 - x.share) + value(y.low, x.high) * x.share
          let bottom = value(y.high, x.low) * (1 - x.share) + value(y.high, x.high) * x.share
          result.append(top * (1 - y.share) + bottom * y.share)
        }
      }
    }
    return result
  }
}
