import Files
import Foundation
import Training

/// What evaluations of a run's checkpoints have found: the files of its folder `evaluations`.
struct EvaluationResults {
  struct Result {
    let values: [String: String]
    /// What is compared over steps: the protocol, and on what, where the file says so.
    let name: String
    let step: Double?
    let top1: Double?
  }

  private static let known = ["protocol", "step", "top1", "top5", "count"]

  let results: [Result]

  /// - Throws: For a file that is no JSON object.
  init(run: String) throws {
    let path = "\(run)/\(EvaluationResult.folderName)"
    let names = Files.isDirectory(path) ? try Files.list(path) : []
    results = try names.filter { $0.hasSuffix(".json") }.map { name in
      try EvaluationResults.read("\(path)/\(name)", name: name)
    }.sorted { ($0.name, $0.step ?? 0) < ($1.name, $1.step ?? 0) }
  }

  private static func read(_ path: String, name: String) throws -> Result {
    let data = Data(try Files.read(path))
    guard let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any] else {
      throw TrainingError.input(
        path: path, reason: "is not the result of an evaluation; remove it, or evaluate again")
    }
    let number = { (key: String) in (object[key] as? NSNumber)?.doubleValue }
    let names =
      ["protocol", "encoder", "features"].compactMap { object[$0] as? String }
      + (number("trainImages").map { ["\(Int($0)) training images"] } ?? [])
    return Result(
      values: object.mapValues(text), name: names.isEmpty ? name : names.joined(separator: ", "),
      step: number("step"), top1: number("top1"))
  }

  private static func text(_ value: Any) -> String {
    switch value {
    case let text as String: return text
    case let number as NSNumber: return number.stringValue
    case is NSNull: return ""
    default:
      let data = try? JSONSerialization.data(
        withJSONObject: value, options: [.sortedKeys, .withoutEscapingSlashes])
      return data.map { String(decoding: $0, as: UTF8.self) } ?? "\(value)"
    }
  }

  /// Known keys first, then the others by name.
  var columns: [String] {
    let all = Set(results.flatMap(\.values.keys))
    return EvaluationResults.known.filter(all.contains)
      + all.subtracting(EvaluationResults.known).sorted()
  }

  var rows: [[String]] {
    let columns = columns
    return results.map { result in
      columns.map { key in
        let text = result.values[key] ?? ""
        let isShare = key.lowercased().hasSuffix("top1") || key.lowercased().hasSuffix("top5")
        guard isShare, let share = Double(text) else { return text }
        return String(format: "%.2f %%", 100 * share)
      }
    }
  }

  /// Accuracy over steps, a line a protocol and encoder; nil where no result says its step.
  var chart: LineChart? {
    var byName: [String: Series] = [:]
    for result in results {
      guard let step = result.step, let top1 = result.top1 else { continue }
      byName[result.name, default: Series()].append(step: step, value: 100 * top1)
    }
    guard !byName.isEmpty else { return nil }
    return LineChart(
      title: "Top-1 accuracy", quantity: "%",
      lines: byName.keys.sorted().map { name in
        LineChart.Line(name: name, series: byName[name] ?? Series(), hasMarks: true)
      })
  }
}
