import Foundation
import ShardedData

extension ShardSummary {
  /// The summary for a reader.
  var lines: [String] {
    let figures = { (values: [Double]) in
      values.map { String(format: "%.4f", $0) }.joined(separator: ", ")
    }
    var lines = zip(paths, counts).map { "\($0): \($1) images" }
    lines.append(
      "\(counts.reduce(0, +)) images of \(imageShape), \(elementType), "
        + String(format: "%.1f MB", Double(bytesOnDisk) / 1e6) + " on disk, checksum \(checksum)")
    lines.append("pixel mean \(figures(mean)), standard deviation \(figures(standardDeviation))")
    lines += zip(classNames, labelCounts).map { "class \($0): \($1)" }
    return lines
  }
}
