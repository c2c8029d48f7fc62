import Testing

@testable import Reporting

@Suite struct PlotTests {
  // MARK: Axis

  @Test(arguments: [
    (0.0...10.0, "0 2 4 6 8 10"), (2.3...9.1, "4 6 8"), (0...1, "0 0.2 0.4 0.6 0.8 1.0"),
    (0...93_700, "0 20k 40k 60k 80k"), (0...0.0012, "0 2e-4 4e-4 6e-4 8e-4 1e-3 1.2e-3"),
    (0...2.0e-5, "0 5e-6 1e-5 1.5e-5 2e-5"), (-1...1, "-1.0 -0.5 0 0.5 1.0"),
    (0...3e6, "0 500k 1M 1.5M 2M 2.5M 3M"),
  ])
  func ticksAreRound(range: ClosedRange<Double>, expected: String) {
    let scale = AxisScale(range, count: 6)
    #expect(scale.labels.joined(separator: " ") == expected)
    for tick in scale.ticks { #expect((-1e-6...1 + 1e-6).contains(scale.fraction(tick))) }
  }

  @Test(arguments: [0.0, 5, -3, 1e-9, 1e12])
  func aSingleValueHasAnAxis(value: Double) {
    let scale = AxisScale(value...value, count: 6)
    #expect(scale.range.lowerBound < value && value < scale.range.upperBound)
    #expect(scale.ticks.count >= 2)
    #expect(abs(scale.fraction(value) - 0.5) < 1e-9)
  }

  // MARK: Series

  /// Every column's smallest and largest value is among what is left, and nothing else.
  @Test(arguments: [10, 401, 5000]) func downsamplingKeepsExtremes(count: Int) {
    let values = (0..<count).map { Double(($0 * 7919) % 1009) }
    let series = Series(steps: (0..<count).map(Double.init), values: values)
    let range = 0...Double(count - 1)
    let columns = 100
    let small = series.downsampled(columns: columns, over: range)
    guard count > 2 * columns else {
      #expect(small == series)
      return
    }
    #expect(small.count <= 2 * (columns + 1))
    #expect(zip(small.steps, small.steps.dropFirst()).allSatisfy { $0 < $1 })
    for column in 0...columns {
      let place = { (step: Double) in Int(step * Double(columns) / Double(count - 1)) == column }
      let all = zip(series.steps, series.values).filter { place($0.0) }.map(\.1)
      let kept = zip(small.steps, small.values).filter { place($0.0) }.map(\.1)
      #expect(kept.min() == all.min() && kept.max() == all.max(), "column \(column)")
    }
  }

  @Test func averageIsTheWeightedMean() {
    let values = [4.0, 1, 7, 2, 2, 9]
    let smooth = Series(steps: [1, 2, 3, 4, 5, 6], values: values).smoothed(window: 4)
    for last in values.indices {
      let weights = (0...last).map { index in (0..<last - index).reduce(0.25) { w, _ in w * 0.75 } }
      let sum = zip(weights, values).reduce(0) { $0 + $1.0 * $1.1 }
      #expect(abs(smooth.values[last] - sum / weights.reduce(0, +)) < 1e-12)
    }
  }

  // MARK: Chart

  @Test func namesAreEscaped() {
    let line = LineChart.Line(name: "a<b", series: Series(steps: [1, 2], values: [0, 1]))
    let svg = LineChart(title: "x & y", quantity: "\"q\"", lines: [line, line]).svg()
    #expect(svg.contains("x &amp; y") && svg.contains("a&lt;b") && svg.contains("&quot;q&quot;"))
    #expect(!svg.contains("a<b"))
  }
}
