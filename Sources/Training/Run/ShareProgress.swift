import Foundation

/// How far work is that ranks share, by the first rank's share of it.
final class ShareProgress {
  private let units: Int
  private let unit: String
  private let ranks: Int
  private let isShown: Bool
  private let isTerminal = ProgressLine.reachesTerminal
  private let started = ProcessInfo.processInfo.systemUptime
  private var done = 0
  private var last: Double

  init(units: Int, unit: String, ranks: Int, isShown: Bool) {
    (self.units, self.unit, self.ranks, self.isShown) = (units, unit, ranks, isShown)
    last = started
  }

  /// More is done.
  func step(_ count: Int = 1) {
    done += count
    guard isShown else { return }
    let now = ProcessInfo.processInfo.systemUptime
    guard now - last > (isTerminal ? 0.25 : 10) || (isTerminal && done >= units) else { return }
    last = now
    show(elapsed: now - started)
  }

  func end() {
    if isShown, isTerminal, done > 0 { FileHandle.standardOutput.write(Data("\n".utf8)) }
  }

  private func show(elapsed: Double) {
    let share = Double(done) / Double(max(units, 1))
    let rate = Double(done) / max(elapsed, 1e-9)
    let width = 30
    let filled = Int(share * Double(width))
    let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
    let text = String(
      format: "[%@] %3.0f %%  %.0f %@/s  ETA %@", bar, share * 100, rate * Double(ranks), unit,
      ProgressLine.duration(Double(units - done) / rate))
    let line = isTerminal ? "\r\(text)\u{1B}[K" : text + "\n"
    FileHandle.standardOutput.write(Data(line.utf8))
  }
}
