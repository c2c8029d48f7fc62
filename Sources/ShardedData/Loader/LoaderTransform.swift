public import Interfaces

/// What the loader does to each image.
public enum LoaderTransform: Equatable, Sendable {
  /// Random flip and crop, then every view of the crop.
  case training(ViewPlan)
  /// No randomness: the shorter side is resized to the view's size divided by `cropShare`, then the
  /// square in the middle is cut out.
  case evaluation([ViewSpecification], cropShare: Double)

  public var views: [ViewSpecification] {
    switch self {
    case .training(let plan): return plan.views
    case .evaluation(let views, _): return views
    }
  }

  /// Whether random draws are keyed by the samples' names.
  var needsKeys: Bool {
    if case .training(let plan) = self { plan.fixedViews > 0 } else { false }
  }
}
