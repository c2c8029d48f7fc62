import Foundation
import ShardedData

extension ShardSummary {
  /// Classes that are listed one by one.
  private static let listedClasses = 20

  /// The summary for a reader.
  var lines: [String] {
    let figures = { (values: [Double]) in
      values.map { String(format: "%.4f", $0) }.joined(separator: ", ")
    }
    var lines = zip(paths, counts).map { "\($0): \($1) images" }
    lines.append(
      "\(count) images, \(layout.title)" + (imageShape.map { " of \($0)" } ?? "")
        + String(format: ", %.1f MB on disk", Double(bytesOnDisk) / 1e6))
    lines.append(
      "shorter side "
        + shorterSides.map { "below \($0.below): \($0.images)" }.joined(separator: ", "))
    lines.append(
      "pixel mean \(figures(mean)), standard deviation \(figures(standardDeviation)) "
        + "(of \(measuredImages) images)")
    let names = classNames.isEmpty ? labelCounts.indices.map { "\($0)" } : classNames
    lines += zip(names, labelCounts).prefix(ShardSummary.listedClasses).map { "class \($0): \($1)" }
    if names.count > ShardSummary.listedClasses {
      lines.append("and \(names.count - ShardSummary.listedClasses) classes more")
    }
    if unlabelled > 0 { lines.append("without a class: \(unlabelled)") }
    return lines
  }
}
