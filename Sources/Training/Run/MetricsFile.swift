import Files

/// `metrics.jsonl`: one object a step, appended as it happens.
final class MetricsFile: Sendable {
  private let file: AppendingFile

  /// Opens the file and drops what comes after `step`: a resumed run goes on from there, and a
  /// half-written last line of a killed run goes with it.
  init(path: String, keepingThrough step: Int) throws(FileError) {
    if Files.exists(path) {
      let kept = try Files.readText(path).split(separator: "\n").filter { line in
        line.hasSuffix("}") && (MetricsFile.step(of: line) ?? .max) <= step
      }
      try Files.writeAtomically(
        Array(kept.map { $0 + "\n" }.joined().utf8), to: path)
    }
    file = try AppendingFile(path: path)
  }

  func append(_ record: StepRecord) throws(FileError) { try file.append(record.json + "\n") }

  /// Waits until the disk has all lines.
  func synchronize() throws(FileError) { try file.synchronize() }

  private static func step(of line: Substring) -> Int? {
    guard let start = line.firstRange(of: "\"step\":") else { return nil }
    return Int(line[start.upperBound...].prefix { $0.isNumber })
  }
}
