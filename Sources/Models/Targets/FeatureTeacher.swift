public import Interfaces
public import TensorCore

/// A frozen model whose features are the target of another.
public protocol FeatureTeacher: AnyObject, Sendable {
  /// Values of a feature.
  var width: Int { get }
  /// Features along one side of the image.
  var grid: Int { get }
  /// The picture that it wants of a crop.
  var view: ViewSpecification { get }
  /// `2 x M x N x K` of every product of an image, attention and convolutions included.
  var flopsPerImage: Double { get }
  /// `[B, 1 + grid * grid, width]` of images `[B, C, S, S]` made by `view`: first a feature of the
  /// whole image, then those of the patches in raster order.
  func features(of images: Tensor, pool: ThreadPool) -> Tensor
}
