public import Interfaces
public import TensorCore

/// EfficientNet-Lite0 up to its stage of 16 pixels a feature, the patch grid of ViT/16, as a teacher: 112
/// features of each patch; their mean stands for the class token.
///
/// A 3 x 3 convolution of stride 2; inverted bottlenecks of a 1 x 1 convolution, a depthwise one and a 1 x 1
/// convolution, each with batch norm by its running statistics (epsilon 0.001), ReLU6 after the first two; the
/// input is added where sizes are equal. Padding is that of TensorFlow. All in Float; sizes are
/// those of the weights, strides those of Lite0.
///
/// - SeeAlso: Tan and Le, arXiv:1905.11946; github.com/tensorflow/tpu, `efficientnet/lite` (its
///   constants of the input: `(255 x - 127) / 128`).
public final class EfficientNetLite: FeatureTeacher {
  public let width: Int
  public let grid: Int
  public let view: ViewSpecification
  private let stem: Pointwise
  private let blocks: [Block]

  /// Of Lite0's blocks up to the last one before images become smaller than a sixteenth.
  private static let strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1]
  private static let stemKernel = 3
  private static let stemStride = 2
  /// Pixels along a side for each feature.
  private static let reduction = 16
  private static let epsilon: Float = 1e-3

  /// - Parameters:
  ///   - tensors: Named as by the PyTorch package `efficientnet-lite-pytorch`.
  ///   - grid: Features along one side.
  /// - Throws: Where a tensor is missing or has a shape that does not fit the others.
  public init(_ tensors: NamedTensors, grid: Int) throws(ConfigurationError) {
    let kernel = try tensors.required("_conv_stem.weight")
    guard kernel.shape.rank == 4, kernel.shape[1] == 3,
      kernel.shape[2] == EfficientNetLite.stemKernel, kernel.shape[3] == kernel.shape[2]
    else {
      throw tensors.mismatch(
        "_conv_stem.weight", "is \(kernel.shape), no 3 x 3 convolution of colour images,")
    }
    stem = try Pointwise(kernel, norm: "_bn0", tensors)
    var (blocks, channels): ([Block], Int) = ([], kernel.shape[0])
    for (index, stride) in EfficientNetLite.strides.enumerated() {
      let block = try Block(tensors, "_blocks.\(index)", inputs: channels, stride: stride)
      blocks.append(block)
      channels = block.outputs
    }
    self.blocks = blocks
    width = channels
    self.grid = grid
    view = ViewSpecification(
      size: EfficientNetLite.reduction * grid, filter: .bicubic,
      mean: [Float](repeating: 127 / 255, count: 3),
      standardDeviation: [Float](repeating: 128 / 255, count: 3))
  }

  public var flopsPerImage: Double {
    var side = SamePadding.length(of: view.size, stride: EfficientNetLite.stemStride)
    var sum = stem.flops * Double(side * side)
    for block in blocks { sum += block.flops(side: &side) }
    return sum
  }

  public func features(of images: Tensor, pool: ThreadPool) -> Tensor {
    ofEachImage(of: images, pool: pool) { image, pool, features in
      var x = stem(
        patches(of: image), activates: true, pool)
      for block in blocks { x = block(x, pool) }
      let count = grid * grid
      withExtendedLifetime(x) {
        (features + width).update(from: x.pointer, count: count * width)
      }
      for column in 0..<width {
        let sum = (1...count).reduce(0.0) { $0 + Double(features[$1 * width + column]) }
        features[column] = Float(sum / Double(count))
      }
    }
  }

  /// What the stem sees of `[1, 3, S, S]`: `[1, S / 2, S / 2, 3 x 3 x 3]`, the weight's order.
  private func patches(of image: Tensor) -> Tensor {
    let size = image.shape[2]
    let (kernel, stride) = (EfficientNetLite.stemKernel, EfficientNetLite.stemStride)
    let side = SamePadding.length(of: size, stride: stride)
    let before = SamePadding.before(size, kernel: kernel, stride: stride)
    let patches = Tensor(repeating: 0, shape: [1, side, side, 3 * kernel * kernel])
    for row in 0..<side * side {
      let (top, left) = (row / side * stride - before, row % side * stride - before)
      let target = patches.pointer + row * 3 * kernel * kernel
      for channel in 0..<3 {
        for i in max(0, -top)..<min(kernel, size - top) {
          for j in max(0, -left)..<min(kernel, size - left) {
            target[(channel * kernel + i) * kernel + j] =
              image.pointer[(channel * size + top + i) * size + left + j]
          }
        }
      }
    }
    return patches
  }

  // MARK: Parts

  /// Batch norm by running statistics: `scale x + shift`.
  private struct RunningNorm {
    let scale: [Float]
    let shift: [Float]

    init(
      _ name: String, _ channels: Int, _ tensors: NamedTensors
    ) throws(ConfigurationError) {
      func values(_ part: String) throws(ConfigurationError) -> [Float] {
        try tensors.required("\(name).\(part)", [channels]).values
      }
      let variance = try values("running_var")
      scale = zip(try values("weight"), variance).map {
        $0 / ($1 + EfficientNetLite.epsilon).squareRoot()
      }
      let centres = zip(try values("running_mean"), scale).map { $0 * $1 }
      shift = zip(try values("bias"), centres).map { $0 - $1 }
    }
  }

  /// A matrix of a norm's scale and shift: a 1 x 1 convolution, or one of gathered patches.
  private struct Pointwise {
    let inputs: Int
    let outputs: Int
    private let weight: Tensor
    private let bias: Tensor

    init(
      _ published: Tensor, norm: String, _ tensors: NamedTensors
    ) throws(ConfigurationError) {
      guard published.shape.rank == 4, published.count > 0 else {
        throw tensors.mismatch("a convolution", "of \(norm) is \(published.shape)")
      }
      outputs = published.shape[0]
      inputs = published.count / outputs
      let norm = try RunningNorm(norm, outputs, tensors)
      weight = published.copy()
      for row in 0..<outputs {
        for column in 0..<inputs { weight.pointer[row * inputs + column] *= norm.scale[row] }
      }
      bias = Tensor(norm.shift, shape: [outputs])
    }

    /// Of a pixel.
    var flops: Double { 2 * Double(inputs * outputs) }

    /// `[.., inputs]` to `[.., outputs]`.
    func callAsFunction(_ x: Tensor, activates: Bool, _ pool: ThreadPool) -> Tensor {
      let y = Tensor(uninitialized: Shape(x.shape.dimensions.dropLast() + [outputs]))
      LinearKernel.forward(
        pool, x: x.pointer, weight: weight.pointer,
        bias: [LinearKernel.BiasSlice(start: 0, values: bias.pointer, count: outputs)],
        y: y.pointer, activated: nil, rows: x.rows, inputs: inputs, outputs: outputs)
      if activates { ReLU6Kernel.forward(pool, x: y.pointer, count: y.count) }
      return y
    }
  }

  /// Wider, over neighbours, narrower.
  private struct Block {
    var outputs: Int { narrowing.outputs }
    private let widening: Pointwise?
    private let narrowing: Pointwise
    /// `[k, k, C]`.
    private let weight: Tensor
    private let bias: Tensor
    private let kernel: Int
    private let stride: Int
    private let isResidual: Bool

    init(
      _ tensors: NamedTensors, _ name: String, inputs: Int, stride: Int
    ) throws(ConfigurationError) {
      let expand = try tensors["\(name)._expand_conv.weight"]
      widening = try expand.map { (weight) throws(ConfigurationError) in
        guard weight.shape.dimensions.dropFirst() == [inputs, 1, 1] else {
          throw tensors.mismatch(
            "\(name)._expand_conv.weight", "is \(weight.shape), not [.., \(inputs), 1, 1],")
        }
        return try Pointwise(weight, norm: "\(name)._bn0", tensors)
      }
      let channels = widening?.outputs ?? inputs
      let depthwise = try tensors.required("\(name)._depthwise_conv.weight")
      kernel = depthwise.shape.dimensions.last ?? 0
      guard depthwise.shape == [channels, 1, kernel, kernel] else {
        throw tensors.mismatch(
          "\(name)._depthwise_conv.weight", "is \(depthwise.shape), not of \(channels) channels,")
      }
      let norm = try RunningNorm("\(name)._bn1", channels, tensors)
      weight = Tensor(uninitialized: [kernel, kernel, channels])
      for channel in 0..<channels {
        for place in 0..<kernel * kernel {
          weight.pointer[place * channels + channel] =
            depthwise.pointer[channel * kernel * kernel + place] * norm.scale[channel]
        }
      }
      bias = Tensor(norm.shift, shape: [channels])
      let project = try tensors.required("\(name)._project_conv.weight")
      guard project.shape.dimensions.dropFirst() == [channels, 1, 1] else {
        throw tensors.mismatch(
          "\(name)._project_conv.weight", "is \(project.shape), not [.., \(channels), 1, 1],")
      }
      narrowing = try Pointwise(project, norm: "\(name)._bn2", tensors)
      self.stride = stride
      isResidual = stride == 1 && narrowing.outputs == inputs
    }

    /// - Parameter side: Of the images that go in, and then of those that come out.
    func flops(side: inout Int) -> Double {
      let before = Double(side * side)
      side = SamePadding.length(of: side, stride: stride)
      let taps = Double(weight.count)
      return before * (widening?.flops ?? 0) + Double(side * side) * (2 * taps + narrowing.flops)
    }

    func callAsFunction(_ x: Tensor, _ pool: ThreadPool) -> Tensor {
      let wide = widening.map { $0(x, activates: true, pool) } ?? x
      let sizes = DepthwiseConvolutionKernel.Sizes(
        height: x.shape[1], width: x.shape[2], channels: wide.columns, kernel: kernel,
        stride: stride)
      let filtered = Tensor(
        uninitialized: [x.shape[0], sizes.outputHeight, sizes.outputWidth, sizes.channels])
      DepthwiseConvolutionKernel.forward(
        pool, sizes, batch: x.shape[0], input: wide.pointer, weight: weight.pointer,
        bias: bias.pointer, output: filtered.pointer)
      ReLU6Kernel.forward(pool, x: filtered.pointer, count: filtered.count)
      let result = narrowing(filtered, activates: false, pool)
      if isResidual {
        for index in 0..<result.count { result.pointer[index] += x.pointer[index] }
      }
      return result
    }
  }
}
