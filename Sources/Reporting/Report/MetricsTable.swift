import Files
import Foundation
import Training

/// `metrics.jsonl` of a run by figure.
struct MetricsTable {
  /// In the order of their first appearance.
  private(set) var names: [String] = []
  private(set) var lastStep = 0
  private(set) var stepCount = 0
  private var figures: [String: Series] = [:]

  subscript(_ name: String) -> Series { figures[name] ?? Series() }

  /// - Parameter run: The output folder of a run.
  /// - Throws: Where there are no metrics, and for a line in the middle that is not whole; the last
  ///   one may be, as a killed run leaves it.
  init(run: String) throws {
    let path = "\(run)/metrics.jsonl"
    guard Files.exists(path) else {
      throw TrainingError.input(
        path: path, reason: "there is no such file; name the output folder of a run that has begun")
    }
    try self.init(text: try Files.readText(path), path: path)
  }

  init(text: String, path: String) throws {
    let lines = text.split(separator: "\n")
    for (number, line) in lines.enumerated() where !add(line) {
      guard number == lines.count - 1 else {
        throw TrainingError.input(
          path: path,
          reason:
            "line \(number + 1) is not what a run has written; resume the run, which cuts the "
            + "file after its checkpoint, or remove the line")
      }
    }
    guard stepCount > 0 else {
      throw TrainingError.input(
        path: path, reason: "has no steps yet; wait for the run's first one")
    }
  }

  /// - Returns: Whether the line is an object with a step.
  private mutating func add(_ line: Substring) -> Bool {
    guard
      let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
      let step = (object["step"] as? NSNumber)?.intValue
    else { return false }
    (lastStep, stepCount) = (step, stepCount + 1)
    // Figures of a line have no order once it is an object; names are sorted to have one.
    for name in object.keys.sorted() where name != "step" {
      // What was not a finite number is null.
      guard let value = (object[name] as? NSNumber)?.doubleValue else { continue }
      if figures[name] == nil {
        figures[name] = Series()
        names.append(name)
      }
      figures[name]?.append(step: Double(step), value: value)
    }
    return true
  }
}
