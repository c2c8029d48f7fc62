public import NN
public import TensorCore

extension VisionTransformer {
  /// What the class token attends to in the last block, for whole images: `[B, heads, 1 + patches]`,
  /// itself first, each row with sum 1.
  ///
  /// - Parameter images: `[B, channels, S, S]`, normalized.
  public func classTokenAttention(_ images: Tensor, _ context: ForwardContext) -> Tensor {
    blocks.lastAttention(
      ofQuery: 0, embed(images, patches: allPatches(of: images), context), context, branch: 0)
  }

  /// All tokens of whole images, class token first: `[B, 1 + patches, C]`.
  public func tokens(of images: Tensor, _ context: ForwardContext) -> Tensor {
    self(images, patches: allPatches(of: images), context, branch: 0).value
  }

  private func allPatches(of images: Tensor) -> [Int32] {
    (0..<images.shape[0]).flatMap { _ in 0..<Int32(configuration.patchCount) }
  }
}
