import Files
import Glibc
import Synchronization

/// Everything that a rank writes of one checkpoint.
struct CheckpointJob: Sendable {
  /// The run's output.
  let folder: String
  let part: PartSource
  /// On the first rank: what it writes beside its part.
  let logical: LogicalFile?
  /// Happens to the first write of the part's data.
  let fault: WriteFault?
  let reach: @Sendable (CheckpointPhase) -> Void

  var name: String { CheckpointFormat.folderName(step: part.step) }
  /// Where it gets written before it has its name.
  var temporary: String { "\(folder)/\(CheckpointFormat.writingPrefix)\(name)" }
  var path: String { "\(folder)/\(name)" }

  /// Writes this rank's files to the disk.
  ///
  /// - Returns: Their entries in the manifest: of the logical file, if it writes that, and of the
  ///   part.
  func write() throws(CheckpointError) -> [Manifest.Entry] {
    do {
      // All ranks may find it missing.
      try Files.makeDirectory(temporary)
      var entries: [Manifest.Entry] = []
      if let logical {
        let path = "\(temporary)/\(CheckpointFormat.file)"
        try logical.write(to: path)
        try Files.synchronize(path)
        entries.append(try FileCheck.entry(path, data: 0..<0))
      }
      let name = CheckpointFormat.partName(part.rank)
      let writer = PartWriter(part, to: "\(temporary)/\(name)", fault: fault, reach: reach)
      return entries + [try writer.write()]
    } catch {
      throw .io(path: path, reason: "\(error)")
    }
  }

  /// Makes a checkpoint of what all ranks have written: manifest, then the name.
  func commit(_ entries: [Manifest.Entry]) throws(CheckpointError) {
    do {
      for entry in entries { try requireVisible(entry) }
      let manifest = Manifest(step: part.step, entries: entries)
      let file = "\(temporary)/\(CheckpointFormat.manifest)"
      try Files.write(Array(manifest.text.utf8), to: "\(file).writing")
      reach(.manifest)
      try Files.rename("\(file).writing", to: file)
      try Files.synchronize(temporary)
      reach(.rename)
      // A checkpoint of that name can only be a damaged one that resume has passed over.
      if Files.exists(path) { try CheckpointFolder(folder).remove(path) }
      try Files.rename(temporary, to: path)
      try Files.synchronize(folder)
    } catch let error as CheckpointError {
      throw error
    } catch {
      throw .io(path: path, reason: "\(error)")
    }
  }

  /// Other ranks' files have to be on a file system that this one sees.
  private func requireVisible(_ entry: Manifest.Entry) throws {
    let path = "\(temporary)/\(entry.name)"
    // Opened, not only looked at: network file systems then ask their server.
    let size = try? RandomAccessFile(path: path).size
    guard size == entry.size else {
      throw CheckpointError.io(
        path: self.path,
        reason: "\(entry.name) is not there as its rank has written it; run.output has to be on a "
          + "file system that all hosts share")
    }
  }
}

/// Runs one piece of writing at a time, on a thread of its own or at once.
final class CheckpointWriter {
  typealias Outcome = Result<[Manifest.Entry], CheckpointError>

  /// What the thread tells.
  private final class Report: Sendable {
    let outcome = Mutex<Outcome?>(nil)
  }

  /// Where kernels use all cores, a quarter of one is left for the writer: it takes no longer than a few
  /// steps, and holds up none by more than its own work.
  private static let niceness: Int32 = 5
  private var report: Report?
  private var thread: pthread_t?

  deinit { wait() }

  /// Starts `work`. What an earlier one has come to is forgotten.
  ///
  /// - Parameter inBackground: False: does it before it returns.
  func start(inBackground: Bool, _ work: @escaping @Sendable () -> Outcome) {
    wait()
    let report = Report()
    self.report = report
    guard inBackground else {
      report.outcome.withLock { $0 = work() }
      return
    }
    thread = startThread {
      // Of this thread alone, on Linux: the kernels of training go first.
      setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, CheckpointWriter.niceness)
      let outcome = work()
      report.outcome.withLock { $0 = outcome }
    }
  }

  /// What the work has come to; nil while it goes on, or where there was none.
  var outcome: Outcome? { report?.outcome.withLock { $0 } }

  var isBusy: Bool { report != nil && outcome == nil }

  /// Waits for the end of the work.
  func wait() {
    if let thread { pthread_join(thread, nil) }
    thread = nil
  }
}
