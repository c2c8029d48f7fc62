public import Interfaces
public import TensorCore

/// Turns an image into one class a patch: the target of the reconstruction.
public protocol DiscreteTokenizer: Sendable {
  var vocabularySize: Int { get }
  /// Tokens along one side of the image.
  var grid: Int { get }
  /// The picture that it wants of a crop.
  var view: ViewSpecification { get }
  /// Tokens in raster order, `B * grid * grid`, of images `[B, C, S, S]` made by `view`.
  func tokens(for images: Tensor, pool: ThreadPool) -> [Int32]
}
