public import NN
public import TensorCore

extension VisionTransformer {
  /// What the class token attends to in the last block, for whole images: `[B, heads, 1 + patches]`,
  /// itself first, each row with sum 1.
  ///
  /// - Parameter images: `[B, channels, S, S]`, normalized.
  public func classTokenAttention(_ images: Tensor, _ context: ForwardContext) -> Tensor {
    let patches = (0..<images.shape[0]).flatMap { _ in 0..<Int32(configuration.patchCount) }
    return blocks.lastAttention(
      ofQuery: 0, embed(images, patches: patches, context), context, branch: 0)
  }
}
