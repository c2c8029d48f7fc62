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
  /// `[B, 1 + grid * grid, width]` of images `[B, C, S, S]` made by `view`: first a feature of the
  /// whole image, then those of the patches in raster order.
  func features(of images: Tensor, pool: ThreadPool) -> Tensor
}
