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
  /// For a message of another host, and for its turn to send a part, which may be large.
  private static let (patience, turnPatience) = (60.0, 3600.0)

  private let run: TrainingRun
  private let agreement: Agreement
  private let steps: ClosedRange<Int>
  private var firstStep = 0
  /// Of each host against the first one, when the first step begins.
  private var ahead: [Double] = []
  private var origin = 0.0

  /// Nil where the run has none.
  init?(_ run: TrainingRun, _ agreement: Agreement) {
    guard let steps = run.traceSteps else { return nil }
    (self.run, self.agreement, self.steps) = (run, agreement, steps)
  }

  private func messenger(patience: Double = StepTrace.patience) -> Messenger {
    Messenger(run.group, purpose: "trace of a step", patience: patience)
  }

  /// Before a step. Collective.
  func begin(step: Int) throws {
    guard steps.contains(step), !run.timeline.isOn else { return }
    ahead = try HostClocks.secondsAhead(of: run.group, messenger(), clock: Timeline.now)
    try run.group.barrier()
    // By the first host's clock, and of the rank that was first: no span begins before.
    origin = -(try run.group.allReduceMaximum([-(Timeline.now() - ownAhead)])[0])
    firstStep = step
    run.timeline.start()
  }

  private var ownAhead: Double {
    let hosts = run.group.hosts
    let leaders = HostClocks.leaders(of: run.group)
    return leaders.firstIndex { hosts[$0] == hosts[run.group.rank] }.map { ahead[$0] } ?? 0
  }

  /// Whether a step is the last one that is recorded.
  func isComplete(step: Int) -> Bool { run.timeline.isOn && step == steps.upperBound }

  /// Writes what has been recorded. Collective. Where nothing was, it does nothing.
  ///
  /// - Parameter step: The last one that was done.
  /// - Returns: On all ranks what to say. A file that cannot be written ends no run.
  func write(step: Int) throws -> String? {
    guard run.timeline.isOn else { return nil }
    let group = run.group
    var events = TraceEvents(
      rank: group.rank, host: run.layout.places[group.rank].hostName, origin: origin + ownAhead)
    events.add(run.timeline.stop())
    let path = "\(run.output)/trace-\(firstStep)-\(max(step, firstStep)).json"
    let failure = try send(Array(events.text.utf8), to: path)
    let sentence = try agreement.sentence(failure.map { "no trace: \($0)" })
    return sentence ?? "trace \(path): open it in ui.perfetto.dev or chrome://tracing"
  }

  /// Rank by rank in turn, so that the first one never holds more than another's part.
  ///
  /// - Returns: Why the first rank could not write.
  private func send(_ own: [UInt8], to path: String) throws -> (any Error)? {
    let group = run.group
    let counts = try group.gather(own.count)
    guard group.rank == 0 else {
      _ = try messenger(patience: StepTrace.turnPatience).receive(1, from: 0)
      try messenger().send(own, to: 0)
      return nil
    }
    var result = Result { try TraceFile(path: path) }
    func write(_ bytes: [UInt8]) {
      result = result.flatMap { file in Result { try file.append(bytes) }.map { file } }
    }
    write(own)
    for rank in 1..<max(1, group.worldSize) {
      try messenger().send([0], to: rank)
      write(try messenger().receive(counts[rank], from: rank))
    }
    if case .failure(let error) = result.flatMap({ file in Result { try file.close() } }) {
      return error
    }
    return nil
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
