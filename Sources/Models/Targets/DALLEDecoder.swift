import Glibc
public import Interfaces
public import TensorCore

/// Decoder of the discrete VAE of DALL-E: tokens to the image that they stand for.
///
/// A 1 x 1 convolution of the one-hot tokens; groups of residual blocks with every pixel doubled
/// between them; ReLU and a 1 x 1 convolution to six channels, of which the first three are the
/// image as logits. All in Float; sizes are those of the weights.
///
/// - SeeAlso: Ramesh et al., arXiv:2102.12092, appendix A; github.com/openai/DALL-E,
///   `dall_e/decoder.py`.
public struct DALLEDecoder: Sendable {
  private let network: DALLENetwork
  public let vocabularySize: Int

  /// - Throws: Where a tensor is missing or has a shape that does not fit the others; names it and
  ///   its source.
  public init(_ tensors: NamedTensors) throws(ConfigurationError) {
    let weight = try tensors.required("blocks.input.w")
    guard weight.shape.rank == 4 else {
      throw tensors.mismatch("blocks.input.w", "is \(weight.shape), not [outputs, tokens, 1, 1],")
    }
    vocabularySize = weight.shape[1]
    network = try DALLENetwork(
      inputs: vocabularySize, inputKernel: 1, blockKernels: [1, 3, 3, 3], from: tensors)
    guard network.output.outputs == 6 else {
      throw tensors.mismatch(
        "blocks.output.conv.w", "has \(network.output.outputs) outputs, not 6,")
    }
  }

  public var parameterCount: Int { network.parameterCount }
  /// Pixels along a side for each token.
  public var reduction: Int { network.reduction }

  /// Images `[B, 3, 8 grid, 8 grid]` in [0, 1]: `clamp((sigmoid(channels 0 ... 2) - 0.1) / 0.8)`.
  ///
  /// Four at a time: some 200 MB at 112 x 112 pixels and published sizes, whatever the batch.
  ///
  /// - Parameter tokens: `B * grid * grid`, in raster order.
  public func images(of tokens: [Int32], grid: Int, pool: ThreadPool) -> Tensor {
    let (side, perImage) = (reduction * grid, grid * grid)
    let batch = tokens.count / perImage
    let images = Tensor(uninitialized: [batch, 3, side, side])
    for first in stride(from: 0, to: batch, by: dalleImagesAtOnce) {
      let end = min(batch, first + dalleImagesAtOnce)
      let part = outputs(of: tokens[first * perImage..<end * perImage], grid: grid, pool: pool)
      pool.runSlabs(of: (end - first) * 3, as: .activations) { slab, _ in
        for plane in slab {
          let source = part.pointer + (plane / 3 * 6 + plane % 3) * side * side
          let target = images.pointer + (first * 3 + plane) * side * side
          for pixel in 0..<side * side {
            let value = (1 / (1 + exp(-source[pixel])) - 0.1) / 0.8
            target[pixel] = min(max(value, 0), 1)
          }
        }
      }
    }
    return images
  }

  /// All six channels as they come, `[B, 6, 8 grid, 8 grid]`, of all images at once.
  ///
  /// - Precondition: Whole images of tokens below `vocabularySize`.
  public func outputs(of tokens: ArraySlice<Int32>, grid: Int, pool: ThreadPool) -> Tensor {
    precondition(tokens.count % (grid * grid) == 0, "\(tokens.count) tokens are no whole images")
    var x = network.input.embedding(of: tokens, grid: grid, pool)
    for (index, group) in network.groups.enumerated() {
      if index > 0 { x = doubled(x, pool) }
      x = network.run(group, x, pool)
    }
    let last = network.output(x, activates: true, pool)
    let (batch, height, width) = (last.shape[0], last.shape[1], last.shape[2])
    let planes = Tensor(uninitialized: [batch, 6, height, width])
    withExtendedLifetime((last, planes)) {
      ImageKernel.transpose(
        pool, last.pointer, batch: batch, rows: height * width, columns: 6, into: planes.pointer)
    }
    return planes
  }

  private func doubled(_ x: Tensor, _ pool: ThreadPool) -> Tensor {
    let (height, width, channels) = (x.shape[1], x.shape[2], x.shape[3])
    let double = Tensor(uninitialized: [x.shape[0], 2 * height, 2 * width, channels])
    withExtendedLifetime((x, double)) {
      ImageKernel.upsample(
        pool, x.pointer, batch: x.shape[0], height: height, width: width, channels: channels,
        into: double.pointer)
    }
    return double
  }
}
