import Foundation

/// The ticks of an axis: multiples of 1, 2 or 5 times a power of ten, and how they are written.
struct AxisScale: Equatable {
  /// First and last value of the axis; a tick need not stand there.
  let range: ClosedRange<Double>
  let ticks: [Double]
  let labels: [String]

  /// - Parameters:
  ///   - range: What is to be seen; widened where it is a single value.
  ///   - count: At most as many ticks.
  init(_ range: ClosedRange<Double>, count: Int) {
    let range = AxisScale.widened(range)
    let step = AxisScale.step(of: range, count: count)
    let first = (range.lowerBound / step - 1e-9).rounded(.up)
    let last = (range.upperBound / step + 1e-9).rounded(.down)
    self.range = range
    ticks = stride(from: first, through: last, by: 1).map { $0 * step }
    labels = ticks.map { AxisScale.label($0, step: step) }
  }

  /// Where a value stands, 0 at the beginning and 1 at the end of the axis.
  func fraction(_ value: Double) -> Double {
    (value - range.lowerBound) / (range.upperBound - range.lowerBound)
  }

  private static func widened(_ range: ClosedRange<Double>) -> ClosedRange<Double> {
    let (low, high) = (range.lowerBound, range.upperBound)
    let least = max(abs(low), abs(high)) * 1e-6
    guard high - low <= least else { return range }
    let margin = low == 0 ? 1 : abs(low) / 2
    return low - margin...high + margin
  }

  /// The smallest step of 1, 2 or 5 times a power of ten that gives at most `count` ticks.
  private static func step(of range: ClosedRange<Double>, count: Int) -> Double {
    let rough = (range.upperBound - range.lowerBound) / Double(max(1, count))
    let power = pow(10, log10(rough).rounded(.down))
    let factor = [1.0, 2, 5].first { $0 * power >= rough * (1 - 1e-9) } ?? 10
    return factor * power
  }

  /// A tick's text: with as many decimals as the step has, large numbers in thousands and
  /// millions, small ones by their power of ten.
  static func label(_ value: Double, step: Double) -> String {
    guard value != 0, abs(value) > step * 1e-6 else { return "0" }
    let largest = max(abs(value), step)
    if step < 1e-3, largest < 0.01 {
      let power = Int((log10(largest) + 1e-9).rounded(.down))
      return trimmed(value / pow(10, Double(power)), decimals: 2) + "e\(power)"
    }
    for (unit, name) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] where step >= unit / 10 {
      if largest >= unit { return trimmed(value / unit, decimals: 1) + name }
    }
    let decimals = max(0, Int((-log10(step) - 1e-9).rounded(.up)))
    return String(format: "%.\(decimals)f", value)
  }

  private static func trimmed(_ value: Double, decimals: Int) -> String {
    var text = String(format: "%.\(decimals)f", value)
    while text.hasSuffix("0") { text.removeLast() }
    if text.hasSuffix(".") { text.removeLast() }
    return text
  }
}
