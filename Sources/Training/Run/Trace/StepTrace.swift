import DataParallel
import Files
import Foundation
import Interfaces
import TensorCore

/// Records some steps of a run on all ranks, and writes them as one file with one clock.
///
/// `trace-10-12.json` in the output folder, for ui.perfetto.dev or chrome://tracing: a process is a
/// rank, its threads are those of the program.
final class StepTrace {
  /// A part of another rank may be large, and its link slow.
  private static let patience = 60.0

  private let run: TrainingRun
  private let agreement: Agreement
  private let steps: ClosedRange<Int>
  /// Of each host against the first one, when the first step begins.
  private var ahead: [Double] = []
  private var origin = 0.0

  /// Nil where the run has none.
  init?(_ run: TrainingRun, _ agreement: Agreement) {
    guard let steps = run.traceSteps else { return nil }
    (self.run, self.agreement, self.steps) = (run, agreement, steps)
  }

  private var messenger: Messenger {
    Messenger(run.group, purpose: "trace of a step", patience: StepTrace.patience)
  }

  /// Before a step. Collective.
  func begin(step: Int) throws {
    guard steps.contains(step), !run.timeline.isOn else { return }
    ahead = try HostClocks.secondsAhead(of: run.group, messenger, clock: Timeline.now)
    // By the first host's clock: the largest is that of the rank that comes last.
    try run.group.barrier()
    origin = -(try run.group.allReduceMaximum([-(Timeline.now() - ownAhead)])[0])
    run.timeline.start()
  }

  private var ownAhead: Double {
    let hosts = run.group.hosts
    let leaders = HostClocks.leaders(of: run.group)
    return leaders.firstIndex { hosts[$0] == hosts[run.group.rank] }.map { ahead[$0] } ?? 0
  }

  /// After a step. Collective.
  ///
  /// - Returns: Of the last one, on all ranks, the path of the trace.
  func end(step: Int, isLast: Bool) throws -> String? {
    guard run.timeline.isOn, step == steps.upperBound || isLast else { return nil }
    let group = run.group
    var events = TraceEvents(
      rank: group.rank, host: run.layout.places[group.rank].hostName, origin: origin + ownAhead)
    events.add(run.timeline.stop())
    let own = Array(events.text.utf8)
    let counts = try group.gather(own.count)
    let path = "\(run.output)/trace-\(steps.lowerBound)-\(step).json"
    // Rank by rank, so that the first one never holds more than another's part.
    let file = try agreement.run {
      group.rank == 0 ? try TraceFile(path: path) : nil
    }
    var failure: (any Error)?
    func write(_ bytes: [UInt8]) {
      do { if failure == nil { try file?.append(bytes) } } catch { failure = error }
    }
    write(own)
    for rank in 1..<max(1, group.worldSize) {
      if group.rank == rank { try messenger.send(own, to: 0) }
      if group.rank == 0 { write(try messenger.receive(counts[rank], from: rank)) }
    }
    try agreement.run {
      if let failure { throw failure }
      try file?.close()
    }
    return path
  }
}

/// A list of events that is there completely or not at all.
private struct TraceFile {
  private let file: AppendingFile
  private let path: String

  init(path: String) throws(FileError) {
    self.path = path
    if Files.exists("\(path).writing") { try Files.remove("\(path).writing") }
    file = try AppendingFile(path: "\(path).writing")
    try file.append("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n")
  }

  func append(_ events: [UInt8]) throws(FileError) { try file.append(events) }

  func close() throws(FileError) {
    // Every event ends in a comma: one without follows.
    try file.append("{\"name\":\"end\",\"ph\":\"M\",\"pid\":0,\"tid\":0,\"args\":{}}\n]}\n")
    try file.close()
    try Files.rename("\(path).writing", to: path)
  }
}
