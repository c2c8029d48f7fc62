import Files
import Interfaces

/// Loss and learning rate of a run as a picture of their own.
public enum LossPicture {
  /// - Throws: Where the run has no metrics, and for a file that is not to be SVG.
  public static func write(run: String, to path: String) throws {
    guard try PictureFormat(path: path) == .svg else {
      throw ConfigurationError(
        "--output", "curves are drawn as SVG; name a file that ends with .svg")
    }
    let charts = ReportCharts(try MetricsTable(run: run)).essentials
    try Files.writeAtomically(Array(LineChart.file(charts).utf8), to: path)
  }
}
