import Files
import Foundation
import Interfaces

/// Efficiency over the number of hosts as a picture.
public enum ScalingPlot {
  /// One curve.
  public struct Curve: Sendable {
    let name: String
    let points: [(hosts: Int, efficiency: Double)]

    /// - Parameter points: In the order of hosts.
    public init(_ name: String, _ points: [(hosts: Int, efficiency: Double)]) {
      (self.name, self.points) = (name, points)
    }
  }

  /// - Throws: For a file that is not to be SVG, or cannot be written.
  public static func write(_ curves: [Curve], title: String, to path: String) throws {
    guard try PictureFormat(path: path) == .svg else {
      throw ConfigurationError(
        "--plot", "curves are drawn as SVG; name a file that ends with .svg")
    }
    let lines = curves.filter { !$0.points.isEmpty }.map { curve in
      LineChart.Line(
        name: curve.name,
        series: Series(
          steps: curve.points.map { log2(Double($0.hosts)) }, values: curve.points.map(\.efficiency)
        ),
        hasMarks: true)
    }
    var chart = LineChart(title: title, quantity: "efficiency", lines: lines, minimum: 0)
    (chart.abscissa, chart.hasPowers) = ("hosts", true)
    try Files.writeAtomically(Array(LineChart.file([chart]).utf8), to: path)
  }
}
