import Files
import Foundation

/// What an evaluation has found.
public struct EvaluationResult: Encodable, Sendable {
  public var `protocol`: String
  public var encoder: EncoderSource
  public var features: String
  public var checkpoint: String
  /// Updates that the encoder has seen.
  public var step: Int
  /// Shares of the validation images, each counted once.
  public var top1: Double
  public var top5: Double
  public var count: Int
  public var classes: Int
  /// Nearest neighbours: with the mean of the training features subtracted.
  public var centredTop1: Double?
  public var centredTop5: Double?
  /// Probes: batch norm by the statistics of each 384 validation images, as CAE's code does.
  public var batchStatisticsTop1: Double?
  public var batchStatisticsTop5: Double?
  /// Probes: the best epoch by validation, which is what published numbers are.
  public var bestTop1: Double?
  public var bestEpoch: Int?
  /// Fine-tuning on some of the training images: how many.
  public var trainImages: Int?
  /// What it was trained by.
  public var recipe: String?
  public var seconds: Double
  /// Where result, confusion matrix and head are, without suffix.
  public var files: String

  /// As people read it.
  public var lines: [String] {
    func percent(_ share: Double) -> String {
      let tenths = Int((share * 1000).rounded())
      return "\(tenths / 10).\(tenths % 10) %"
    }
    var lines = [
      "\(self.protocol), \(encoder.rawValue) encoder, \(features) features, step \(step): "
        + "top-1 \(percent(top1)), top-5 \(percent(top5)) of \(count) images, \(classes) classes"
    ]
    if let centredTop1 { lines.append("with centred features: top-1 \(percent(centredTop1))") }
    if let batchStatisticsTop1 {
      lines.append(
        "with batch norm by each batch's own statistics: top-1 \(percent(batchStatisticsTop1))")
    }
    if let bestTop1, let bestEpoch {
      lines.append("best epoch: \(bestEpoch), top-1 \(percent(bestTop1))")
    }
    lines.append("in \(files).json, confusion matrix in \(files)-confusion.csv")
    return lines
  }

  /// Where results are: the folder that was asked for, or `evaluations` beside the checkpoint.
  static func folder(_ wanted: String?, of checkpoint: String) -> String {
    let parent = checkpoint.lastIndex(of: "/").map { String(checkpoint[..<$0]) } ?? "."
    return wanted ?? "\(parent)/\(folderName)"
  }

  /// In the output folder of a run.
  public static let folderName = "evaluations"

  /// Writes the result and its confusion matrix.
  func write(_ confusion: [[Int]], classNames: [String]) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try Files.writeAtomically(Array(try encoder.encode(self)), to: "\(files).json")
    try Files.writeAtomically(
      Array(EvaluationResult.table(confusion, classNames).utf8), to: "\(files)-confusion.csv")
  }

  /// Rows are true classes, columns answers.
  private static func table(_ confusion: [[Int]], _ names: [String]) -> String {
    let labels = confusion.indices.map { index in
      let name = names.indices.contains(index) ? names[index] : "\(index)"
      return "\"\(name.replacingOccurrences(of: "\"", with: "\"\""))\""
    }
    let rows = zip(labels, confusion).map { label, counts in
      ([label] + counts.map(String.init)).joined(separator: ",")
    }
    return ((["\"true class\"" + labels.map { ",\($0)" }.joined()]) + rows).joined(separator: "\n")
      + "\n"
  }
}
