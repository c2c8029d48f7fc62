public import Interfaces
public import TensorCore

/// Encoder of the discrete VAE of DALL-E: an image to a distribution over tokens, a token for each
/// 8 x 8 pixels.
///
/// A 7 x 7 convolution; groups of residual blocks with 2 x 2 maximum pooling between them; ReLU and
/// a 1 x 1 convolution to the vocabulary. All in Float; sizes are those of the weights. Published
/// sizes: 256 channels at first, 4 groups of 2 blocks, 8192 tokens, 53,786,240 parameters.
///
/// Tokens are the same bits on any number of threads and in any batch.
///
/// - SeeAlso: Ramesh et al., "Zero-Shot Text-to-Image Generation", arXiv:2102.12092, appendix A;
///   github.com/openai/DALL-E, `dall_e/encoder.py`.
public struct DALLEEncoder: Sendable {
  private let network: DALLENetwork

  /// - Throws: Where a tensor is missing or has a shape that does not fit the others; names it and
  ///   its source.
  public init(_ tensors: NamedTensors) throws(ConfigurationError) {
    network = try DALLENetwork(
      inputs: 3, inputKernel: 7, blockKernels: [3, 3, 3, 1], from: tensors)
  }

  /// Names and shapes of the published architecture: four groups of two blocks, each group twice
  /// as wide as the one before.
  public static func tensorShapes(
    hiddenWidth: Int, vocabularySize: Int
  ) -> [(name: String, shape: Shape)] {
    var shapes: [(name: String, shape: Shape)] = []
    func add(_ name: String, _ outputs: Int, _ inputs: Int, _ kernel: Int) {
      shapes.append((name + ".w", [outputs, inputs, kernel, kernel]))
      shapes.append((name + ".b", [outputs]))
    }
    add("blocks.input", hiddenWidth, 3, 7)
    var width = hiddenWidth
    for group in 0..<4 {
      let (outputs, hidden) = (hiddenWidth << group, (hiddenWidth << group) / 4)
      for block in 1...2 {
        let name = "blocks.group_\(group + 1).block_\(block)"
        if width != outputs { add(name + ".id_path", outputs, width, 1) }
        add(name + ".res_path.conv_1", hidden, width, 3)
        add(name + ".res_path.conv_2", hidden, hidden, 3)
        add(name + ".res_path.conv_3", hidden, hidden, 3)
        add(name + ".res_path.conv_4", outputs, hidden, 1)
        width = outputs
      }
    }
    add("blocks.output.conv", vocabularySize, width, 1)
    return shapes
  }

  public var vocabularySize: Int { network.output.outputs }
  /// Channels after the first convolution.
  public var hiddenWidth: Int { network.input.outputs }
  public var groupCount: Int { network.groups.count }
  public var blocksPerGroup: Int { network.groups[0].count }
  public var parameterCount: Int { network.parameterCount }
  /// Pixels along a side for each token.
  public var reduction: Int { network.reduction }

  /// Floating-point operations of the convolutions on one image of `size` x `size`.
  public func flops(imageSize size: Int) -> Double {
    var side = size
    var flops = network.input.flops(height: side, width: side)
    for (index, group) in network.groups.enumerated() {
      if index > 0 { side /= 2 }
      for convolution in group.flatMap(\.convolutions) {
        flops += convolution.flops(height: side, width: side)
      }
    }
    return flops + network.output.flops(height: side, width: side)
  }

  /// Raw logits `[B, H / 8, W / 8, vocabulary]` of images `[B, 3, H, W]` whose values have been
  /// mapped from [0, 1] to [0.1, 0.9].
  ///
  /// All images at once: some 20 MB each at 112 x 112 pixels and published sizes.
  ///
  /// - Precondition: Height and width are multiples of `reduction`.
  public func logits(for images: Tensor, pool: ThreadPool) -> Tensor {
    let (batch, height, width) = (images.shape[0], images.shape[2], images.shape[3])
    precondition(
      images.shape[1] == 3 && height % reduction == 0 && width % reduction == 0,
      "images \(images.shape) do not fit a reduction by \(reduction)")
    let pixels = Tensor(uninitialized: [batch, height, width, 3])
    withExtendedLifetime((images, pixels)) {
      ImageKernel.transpose(
        pool, images.pointer, batch: batch, rows: 3, columns: height * width,
        into: pixels.pointer)
    }
    var x = network.input(pixels, activates: false, pool)
    for (index, group) in network.groups.enumerated() {
      if index > 0 { x = halved(x, pool) }
      x = network.run(group, x, pool)
    }
    return network.output(x, activates: true, pool)
  }

  private func halved(_ x: Tensor, _ pool: ThreadPool) -> Tensor {
    let (height, width, channels) = (x.shape[1], x.shape[2], x.shape[3])
    let half = Tensor(uninitialized: [x.shape[0], height / 2, width / 2, channels])
    withExtendedLifetime((x, half)) {
      ImageKernel.maximumPool(
        pool, x.pointer, batch: x.shape[0], height: height, width: width, channels: channels,
        into: half.pointer)
    }
    return half
  }
}

/// Tokens of the DALL-E encoder: of each position the largest logit, of equal ones the first.
public struct DALLETokenizer: DiscreteTokenizer {
  public let encoder: DALLEEncoder
  public let grid: Int

  /// - Parameter grid: Tokens along one side of an image.
  public init(_ encoder: DALLEEncoder, grid: Int) {
    self.encoder = encoder
    self.grid = grid
  }

  public var vocabularySize: Int { encoder.vocabularySize }

  /// Eight pixels a token, and values `0.8 x + 0.1`.
  public var view: ViewSpecification {
    ViewSpecification(
      size: encoder.reduction * grid, filter: .lanczos, mean: [-0.125, -0.125, -0.125],
      standardDeviation: [1.25, 1.25, 1.25])
  }

  /// Four images at a time: some 80 MB at 112 x 112 pixels and published sizes, whatever the batch.
  public func tokens(for images: Tensor, pool: ThreadPool) -> [Int32] {
    let batch = images.shape[0]
    let values = images.count / max(batch, 1)
    var tokens = [Int32](repeating: 0, count: batch * grid * grid)
    for first in stride(from: 0, to: batch, by: dalleImagesAtOnce) {
      let count = min(dalleImagesAtOnce, batch - first)
      let part = Tensor(
        storage: images.storage, offset: images.offset + first * values,
        shape: [count, images.shape[1], images.shape[2], images.shape[3]])
      let logits = encoder.logits(for: part, pool: pool)
      precondition(logits.rows == count * grid * grid, "images are not those of the view")
      tokens.withUnsafeMutableBufferPointer { tokens in
        guard let base = tokens.baseAddress else { return }
        withExtendedLifetime(logits) {
          ImageKernel.largestOfRows(
            pool, logits.pointer, rows: logits.rows, columns: logits.columns,
            into: base + first * grid * grid)
        }
      }
    }
    return tokens
  }
}
