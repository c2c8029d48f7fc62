import Foundation

/// Curves over steps as an SVG picture.
///
/// A long series is drawn pale with its moving average over it; a short one with its points. All
/// texts have one size; room for the numbers of the vertical axis is made by their length, so that
/// nothing is drawn over anything else.
struct LineChart {
  struct Line {
    let name: String
    let series: Series
    /// Each point is marked, and no average is drawn: few values far apart.
    var hasMarks = false
    /// Without noise: drawn as it is.
    var isSmooth = false
  }

  let title: String
  /// What stands on the vertical axis, with its unit.
  let quantity: String
  let lines: [Line]
  /// Lowest value of the vertical axis; nil: that of the curves.
  var minimum: Double?
  /// What stands on the horizontal axis.
  var abscissa = "step"
  /// The horizontal axis has powers of two, given by their exponents.
  var hasPowers = false

  static let (width, height) = (400.0, 250.0)
  private static let fontSize = 11.0
  /// A sans-serif digit is about as wide, of its size.
  private static let glyphWidth = 0.58
  private static let rowHeight = 15.0
  /// Steps of the series that one step of the average is made of: a fiftieth of them.
  private static let windows = 50.0

  /// Colours of lines and text where no page sets them, light and dark.
  private static let style = """
    <style>svg{--ink:#24292f;--faint:#d0d7de;--line0:#0b62c4;--line1:#c2410c;--line2:#15803d;\
    --line3:#9333ea;background:#fff;font-family:sans-serif}@media(prefers-color-scheme:dark)\
    {svg{--ink:#e6edf3;--faint:#3d444d;--line0:#58a6ff;--line1:#ff9b5e;--line2:#4ac26b;\
    --line3:#c297ff;background:#0d1117}}</style>
    """

  /// - Parameter isFile: With what a file of its own needs beside.
  func svg(isFile: Bool = false) -> String {
    let space = isFile ? " xmlns=\"http://www.w3.org/2000/svg\"" : ""
    let size = "viewBox=\"0 0 \(Self.text(Self.width)) \(Self.text(Self.height))\""
    return "<svg\(space) \(size) role=\"img\" aria-label=\"\(HTML.escape(title))\">"
      + (isFile ? Self.style : "") + content() + "</svg>"
  }

  /// Several charts below each other as one file.
  static func file(_ charts: [LineChart]) -> String {
    let total = height * Double(charts.count)
    let parts = charts.enumerated().map { number, chart in
      "<g transform=\"translate(0 \(text(height * Double(number))))\">\(chart.content())</g>"
    }
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(text(width)) \(text(total))\""
      + " width=\"\(text(2 * width))\" height=\"\(text(2 * total))\">\(style)"
      + parts.joined() + "</svg>\n"
  }

  /// The part of the picture that the curves have.
  private struct Frame {
    let (left, top, right, bottom): (Double, Double, Double, Double)
    let (steps, values): (AxisScale, AxisScale)

    func x(_ step: Double) -> Double { left + steps.fraction(step) * (right - left) }
    func y(_ value: Double) -> Double { bottom - values.fraction(value) * (bottom - top) }
    var columns: Int { Int(right - left) }
  }

  private func content() -> String {
    let legend = legend()
    let frame = frame(below: 24 + Self.rowHeight * Double(legend.rows))
    let title = Self.label(title, x: 8, y: 16, anchor: "start", weight: "bold")
    return title + legend.svg + axes(frame)
      + lines.enumerated().map { curve($1, color: $0 % 4, frame) }.joined()
  }

  private func frame(below top: Double) -> Frame {
    let steps = lines.flatMap { [$0.series.steps.first, $0.series.steps.last] }.compactMap(\.self)
    let shown = lines.flatMap { line in line.series.values }
    let (lowest, highest) = (shown.min() ?? 0, shown.max() ?? 0)
    // Curves do not touch the frame.
    let margin = (highest - (minimum ?? lowest)) * 0.04
    let low = minimum ?? (lowest - margin)
    let values = AxisScale(low...max(low, highest + margin), count: 8)
    let longest = values.labels.map(\.count).max() ?? 1
    return Frame(
      left: 14 + Self.fontSize * Self.glyphWidth * Double(longest), top: top + 20,
      right: Self.width - 18, bottom: Self.height - 34,
      steps: AxisScale((steps.min() ?? 0)...(steps.max() ?? 1), count: 6), values: values)
  }

  /// Names of the curves in rows as long as fit.
  private func legend() -> (svg: String, rows: Int) {
    guard lines.count > 1 else { return ("", 0) }
    var (svg, x, row) = ("", 8.0, 0)
    for (number, line) in lines.enumerated() {
      let width = 30 + Self.fontSize * Self.glyphWidth * Double(line.name.count)
      if x > 8, x + width > Self.width { (x, row) = (8, row + 1) }
      let y = 32 + Self.rowHeight * Double(row)
      svg +=
        "<path d=\"M\(Self.text(x)) \(Self.text(y - 4))h14\" stroke=\"var(--line\(number % 4))\""
        + " stroke-width=\"2.5\"/>"
      svg += Self.label(line.name, x: x + 18, y: y, anchor: "start")
      x += width
    }
    return (svg, row + 1)
  }

  private func axes(_ frame: Frame) -> String {
    var svg = Self.label(quantity, x: 8, y: frame.top - 11, anchor: "start")
    for (tick, label) in zip(frame.values.ticks, frame.values.labels) {
      let y = frame.y(tick)
      svg +=
        "<path d=\"M\(Self.text(frame.left)) \(Self.text(y))H\(Self.text(frame.right))\""
        + " stroke=\"var(--faint)\" stroke-width=\"1\"/>"
      svg += Self.label(label, x: frame.left - 5, y: y + 4, anchor: "end")
    }
    for (tick, label) in zip(frame.steps.ticks, frame.steps.labels) {
      let x = frame.x(tick)
      svg += "<path d=\"M\(Self.text(x)) \(Self.text(frame.bottom))v4\" stroke=\"var(--ink)\"/>"
      let text = hasPowers ? "\(Int(exp2(tick)))" : label
      svg += Self.label(text, x: x, y: frame.bottom + 16, anchor: "middle")
    }
    svg +=
      "<path d=\"M\(Self.text(frame.left)) \(Self.text(frame.bottom))"
      + "H\(Self.text(frame.right))\" stroke=\"var(--ink)\"/>"
    return svg
      + Self.label(
        abscissa, x: (frame.left + frame.right) / 2, y: Self.height - 4, anchor: "middle")
  }

  private func curve(_ line: Line, color: Int, _ frame: Frame) -> String {
    let ink = "var(--line\(color))"
    let range = frame.steps.range
    let raw = line.series.downsampled(columns: frame.columns, over: range)
    let isLong = !line.hasMarks && !line.isSmooth && line.series.count >= 2 * Int(Self.windows)
    var svg = Self.path(raw, frame, ink, width: isLong ? 1 : 2, opacity: isLong ? 0.3 : 1)
    if isLong {
      let mean = line.series.smoothed(window: Double(line.series.count) / Self.windows)
      svg += Self.path(
        mean.downsampled(columns: frame.columns, over: range), frame, ink, width: 2, opacity: 1)
    }
    if line.hasMarks || raw.count == 1 {
      for (step, value) in zip(raw.steps, raw.values) {
        svg +=
          "<circle cx=\"\(Self.text(frame.x(step)))\" cy=\"\(Self.text(frame.y(value)))\""
          + " r=\"3\" fill=\"\(ink)\"/>"
      }
    }
    return svg
  }

  private static func path(
    _ series: Series, _ frame: Frame, _ ink: String, width: Double, opacity: Double
  ) -> String {
    guard series.count > 1 else { return "" }
    let points = zip(series.steps, series.values).map { step, value in
      "\(text(frame.x(step))) \(text(frame.y(value)))"
    }
    return "<path d=\"M\(points.joined(separator: "L"))\" fill=\"none\" stroke=\"\(ink)\""
      + " stroke-width=\"\(text(width))\" opacity=\"\(text(opacity))\" stroke-linejoin=\"round\"/>"
  }

  private static func label(
    _ label: String, x: Double, y: Double, anchor: String, weight: String = "normal"
  ) -> String {
    "<text x=\"\(text(x))\" y=\"\(text(y))\" font-size=\"\(text(fontSize))\""
      + " text-anchor=\"\(anchor)\" font-weight=\"\(weight)\" fill=\"var(--ink)\">"
      + HTML.escape(label) + "</text>"
  }

  private static func text(_ value: Double) -> String {
    value == value.rounded() ? String(Int(value)) : String(format: "%.1f", value)
  }
}
