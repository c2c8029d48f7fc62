/// Finds steps whose loss or gradient norm is far outside of what recent steps had.
///
/// A function of numbers that are the same on all ranks, so all ranks judge alike.
struct OutlierGuard {
  /// Steps before it judges at all.
  private static let leastSteps = 8

  private let settings: GuardSection
  private(set) var losses: [Double]
  private(set) var norms: [Double]

  /// - Parameter recent: What a checkpoint says of the steps before.
  init(_ settings: GuardSection, recent: (losses: [Double], norms: [Double]) = ([], [])) {
    self.settings = settings
    losses = recent.losses.suffix(settings.outlierWindow)
    norms = recent.norms.suffix(settings.outlierWindow)
  }

  /// - Returns: What is wrong with the step; nil for a good one, which then counts as recent.
  mutating func judge(loss: Double, norm: Double) -> String? {
    guard settings.outlierZScore > 0 else { return nil }
    for (name, value, recent) in [("loss", loss, losses), ("gradient norm", norm, norms)] {
      if let score = OutlierGuard.score(value, recent), score > settings.outlierZScore {
        return "\(name) \(value) is \((score * 10).rounded() / 10) standard deviations above its "
          + "mean over \(recent.count) steps"
      }
    }
    losses = (losses + [loss]).suffix(settings.outlierWindow)
    norms = (norms + [norm]).suffix(settings.outlierWindow)
    return nil
  }

  private static func score(_ value: Double, _ recent: [Double]) -> Double? {
    guard recent.count >= leastSteps else { return nil }
    let mean = recent.reduce(0, +) / Double(recent.count)
    let variance = recent.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(recent.count)
    // Steps that are all alike would make an outlier of the smallest change.
    return (value - mean) / max(variance.squareRoot(), 1e-3 * abs(mean))
  }
}
