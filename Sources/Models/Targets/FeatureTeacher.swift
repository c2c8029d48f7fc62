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

extension FeatureTeacher {
  /// Fills the features of each image, alone and on one thread, so that their bits depend neither on
  /// the batch nor on the number of threads; images are what threads share.
  ///
  /// - Parameter fill: Gets `[1, C, S, S]` and where its `[1 + grid * grid, width]` go.
  func ofEachImage(
    of images: Tensor, pool: ThreadPool,
    _ fill: (_ image: Tensor, _ pool: ThreadPool, _ features: UnsafeMutablePointer<Float>) -> Void
  ) -> Tensor {
    let batch = images.shape[0]
    let features = Tensor(uninitialized: [batch, 1 + grid * grid, width])
    let (pixels, values) = (images.count / max(batch, 1), features.count / max(batch, 1))
    let alone = ThreadPool(threadCount: 1)
    pool.run(batch, as: .products) { index, _ in
      let image = Tensor(
        storage: images.storage, offset: images.offset + index * pixels,
        shape: Shape([1] + images.shape.dimensions.dropFirst()))
      fill(image, alone, features.pointer + index * values)
    }
    return features
  }
}
