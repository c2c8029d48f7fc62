public import Files
import Glibc
import SwiftProtobuf

/// TensorBoard's log of a run: scalars by step, in a file `events.out.tfevents.SECONDS.PROCESS`.
///
/// Every record reaches the system in one write, so that TensorBoard may read while the run goes on.
///
/// - SeeAlso: tensorflow/core/util/event.proto.
public final class EventFile: Sendable {
  private static let prefix = "events.out.tfevents."
  private static let version = "brain.Event:2"
  private let file: AppendingFile

  /// A new file; those that a folder has already are cut first, before the first event after `step`.
  ///
  /// - Parameters:
  ///   - step: The run goes on after it. Viewers forget what they have read of later steps.
  ///   - time: Seconds since 1970.
  public init(folder: String, continuingAfter step: Int, time: Double) throws(FileError) {
    for name in try Files.list(folder) where name.hasPrefix(EventFile.prefix) {
      try EventFile.cut("\(folder)/\(name)", after: step)
    }
    // Viewers read files in the order of their names: seconds have ten digits until 2286, processes
    // at most seven.
    let process = String(getpid())
    let padding = String(repeating: "0", count: max(0, 7 - process.count))
    file = try AppendingFile(path: "\(folder)/\(EventFile.prefix)\(Int(time)).\(padding)\(process)")
    var event = TensorBoardEvent()
    event.wallTime = time
    event.fileVersion = EventFile.version
    try append(event)
    event.step = Int64(step + 1)
    event.sessionLog.status = .start
    try append(event)
  }

  /// Adds the scalars of a step, rounded to Float.
  public func append(
    step: Int, time: Double, scalars: [(tag: String, value: Double)]
  ) throws(FileError) {
    var event = TensorBoardEvent()
    (event.wallTime, event.step) = (time, Int64(step))
    event.summary.value = scalars.map { tag, number in
      var value = TensorBoardSummary.Value()
      (value.tag, value.simpleValue) = (tag, Float(number))
      return value
    }
    try append(event)
  }

  /// Waits until the disk has all events.
  public func synchronize() throws(FileError) { try file.synchronize() }

  private func append(_ event: TensorBoardEvent) throws(FileError) {
    let data: [UInt8]
    do { data = try event.serializedBytes() } catch {
      // Only a message of more than 2 GB cannot be written.
      throw FileError(operation: "write", path: file.path, code: EFBIG)
    }
    try file.append(RecordFrame.bytes(of: data))
  }

  /// Cuts a file before its first event of a later step, or where it is damaged: after a kill the
  /// last record may not be whole.
  private static func cut(_ path: String, after step: Int) throws(FileError) {
    let bytes = try Files.read(path)
    var end = 0
    while let record = RecordFrame.read(bytes, at: end) {
      guard let event = try? TensorBoardEvent(serializedBytes: Array(record.data)),
        event.step <= Int64(step) || event.what == .sessionLog(event.sessionLog)
      else { break }
      end = record.end
    }
    if end < bytes.count { try Files.truncate(path, toSize: end) }
  }
}
