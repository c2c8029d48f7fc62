import Files
import Foundation

/// Sizes and ages of what is stored, as tables show them.
enum StoredFiles {
  /// Bytes of a file, or of all files in a folder; what vanishes meanwhile does not count.
  static func size(of path: String) -> Int {
    guard Files.isDirectory(path) else { return (try? Files.size(of: path)) ?? 0 }
    let names = (try? Files.list(path, includingHidden: true)) ?? []
    return names.reduce(0) { $0 + size(of: "\(path)/\($1)") }
  }

  /// Seconds since a file or folder was changed.
  static func age(of path: String) -> Double {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    let date = attributes?[.modificationDate] as? Date
    return date.map { max(0, -$0.timeIntervalSinceNow) } ?? 0
  }

  static func text(bytes: Int) -> String {
    let (value, unit) = bytes < 1_000_000_000 ? (1e6, "MB") : (1e9, "GB")
    let number = Double(bytes) / value
    return String(format: number < 10 ? "%.2f" : number < 100 ? "%.1f" : "%.0f", number)
      + " \(unit)"
  }

  static func text(age seconds: Double) -> String {
    switch Int(seconds) {
    case ..<60: "\(Int(seconds)) s"
    case ..<3600: "\(Int(seconds) / 60) min"
    case ..<(2 * 86400): "\(Int(seconds) / 3600) h"
    default: "\(Int(seconds) / 86400) d"
    }
  }
}
