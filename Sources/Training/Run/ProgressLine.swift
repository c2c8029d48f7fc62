import Foundation

/// What the console of rank 0 shows: a line that is drawn again on a terminal, plain lines
/// elsewhere.
final class ProgressLine {
  private let isTerminal: Bool
  private let everySteps: Int
  private let totalSteps: Int
  private var lastDraw = -Double.infinity
  private var isOpen = false
  private var started: (step: Int, time: Double)?

  init(totalSteps: Int, everySteps: Int) {
    isTerminal = ProgressLine.reachesTerminal
    self.everySteps = everySteps
    self.totalSteps = totalSteps
  }

  /// Whether somebody looks at a screen. Open MPI gives every rank a pseudo-terminal, even where
  /// its own output goes to a file, so under a launcher its standard output decides.
  static var reachesTerminal: Bool {
    guard isatty(STDOUT_FILENO) == 1 else { return false }
    guard ProcessInfo.processInfo.environment["OMPI_COMM_WORLD_RANK"] != nil else { return true }
    let launcher = try? FileManager.default.destinationOfSymbolicLink(
      atPath: "/proc/\(getppid())/fd/1")
    return launcher.map { $0.hasPrefix("/dev/pts/") || $0.hasPrefix("/dev/tty") } ?? false
  }

  func show(_ record: StepRecord, isLast: Bool) {
    let now = Date().timeIntervalSince1970
    let begin = started ?? (record.step - 1, now)
    started = begin
    let due = isTerminal ? now - lastDraw > 0.2 : record.step % everySteps == 0
    guard
      due || isLast || record.step == begin.step + 1
        || record["validationLoss"] != nil
    else { return }
    lastDraw = now
    let done = record.step - begin.step
    let rate = done > 1 ? (now - begin.time) / Double(done - 1) : 0
    // One step says nothing of the next: the first one also warms everything up.
    let text = line(record, remaining: done > 1 ? rate * Double(totalSteps - record.step) : nil)
    write(isTerminal ? "\r\u{1B}[K" + text : text + "\n")
    isOpen = isTerminal
    if isLast { close() }
  }

  /// A line of its own between progress lines.
  func note(_ text: String) {
    close()
    write(text + "\n")
  }

  /// Ends the line that is drawn again.
  func close() {
    if isOpen { write("\n") }
    isOpen = false
  }

  private func line(_ record: StepRecord, remaining: Double?) -> String {
    func figure(_ key: String, _ format: String) -> String {
      record[key].map { String(format: format, $0) } ?? "-"
    }
    let terms = record.figures.filter { $0.key.hasPrefix("loss") && $0.key != "loss" }
      .map { "\($0.key.dropFirst(4).lowercased()) " + String(format: "%.4f", $0.value) }
    let heldOut = record["validationLoss"].map { String(format: "held-out %.4f", $0) }
    return [
      "step \(record.step)/\(totalSteps)", "epoch " + figure("epoch", "%.2f"),
      "loss " + figure("loss", "%.4f"), terms.joined(separator: " "),
      "lr " + figure("learningRate", "%.2e"), "norm " + figure("gradientNorm", "%.2f"),
      figure("imagesPerSecond", "%.1f") + " images/s",
      "exchange " + figure("exposedCommunicationMilliseconds", "%.1f") + " ms",
      remaining.map { "ETA " + ProgressLine.duration($0) },
      heldOut,
    ].compactMap(\.self).joined(separator: "  ")
  }

  static func duration(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded())
    if whole < 60 { return "\(whole) s" }
    if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
    return "\(whole / 3600) h \(whole % 3600 / 60) min"
  }

  private func write(_ text: String) { FileHandle.standardOutput.write(Data(text.utf8)) }
}
