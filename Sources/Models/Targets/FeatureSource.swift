public import Interfaces
public import TensorCore

/// Where a method's target features come from.
public enum FeatureSource: TargetSource {
  public static let kind = "features"

  /// From the teacher's picture of each crop.
  case computed(any FeatureTeacher)
  /// With every batch, computed beforehand.
  case stored(width: Int, grid: Int)

  /// Values of a feature.
  public var width: Int {
    switch self {
    case .computed(let teacher): teacher.width
    case .stored(let width, _): width
    }
  }

  /// Features along one side of the image.
  public var grid: Int {
    switch self {
    case .computed(let teacher): teacher.grid
    case .stored(_, let grid): grid
    }
  }

  public var view: ViewSpecification? {
    guard case .computed(let teacher) = self else { return nil }
    return teacher.view
  }

  /// `[B, 1 + grid * grid, width]` of a batch with those `views`: a feature of the whole image, then
  /// those of the patches in raster order.
  public func features(for batch: Batch, pool: ThreadPool) -> Tensor {
    switch self {
    case .computed(let teacher):
      return teacher.features(of: batch.views[batch.views.count - 1], pool: pool)
    case .stored(let width, let grid):
      guard case .features(let features) = batch.targets,
        features.shape == [batch.count, 1 + grid * grid, width]
      else {
        preconditionFailure(
          "no \(batch.count) x \(1 + grid * grid) x \(width) stored features for a batch")
      }
      return features
    }
  }
}
