public import Files
import Glibc
public import Interfaces
public import NN
public import TensorCore

/// Saves a run: every rank writes its part of the state, and the first one makes a checkpoint of
/// the parts.
///
/// A save:
///
///     begin       copies the state, and starts to write it
///     advance     when no rank is writing any more and none has failed: the first one commits
///     advance     when it is not writing any more: there is a checkpoint
///
/// In the background training goes on between these calls; MPI is called by `advance` alone.
public final class CheckpointSaver {
  /// What is decided for a run.
  public struct Options: Sendable {
    /// Of the run.
    public var folder: String
    /// Writes on a thread of its own, from a copy of the state.
    public var isAsynchronous = true
    public var keepLast = 2
    public var keepEvery = 0
    /// Steps of checkpoints that are of no use.
    public var damaged: Set<Int> = []
    /// Runs on the first rank before a checkpoint gets its name.
    public var beforeCommit: @Sendable () throws -> Void = {}
    public var reach: @Sendable (CheckpointPhase) -> Void = { _ in }
    /// Shows the writing.
    public var track: Timeline.Track?

    public init(folder: String) { self.folder = folder }
  }

  private enum Stage {
    case idle
    case writing(CheckpointJob)
    case committing(CheckpointJob)
  }

  public var options: Options
  private let optimizer: DistributedOptimizer
  private let buffers: [NamedBuffer]
  private let group: any ProcessGroup
  private let pool: ThreadPool
  private let layout: StateLayout
  private let writer = CheckpointWriter()
  private var stage = Stage.idle
  /// Where the state is copied to.
  private var copy: Storage?

  public init(
    _ options: Options, _ optimizer: DistributedOptimizer, buffers: [NamedBuffer],
    group: any ProcessGroup, pool: ThreadPool
  ) {
    self.options = options
    self.optimizer = optimizer
    self.buffers = buffers
    self.group = group
    self.pool = pool
    layout = StateLayout(
      parts: optimizer.savedRanges, bufferCount: buffers.reduce(0) { $0 + $1.tensor.count })
    // Now, so that no step has to wait for fresh pages.
    if options.isAsynchronous { copy = storage(layout.count(of: group.rank)) }
  }

  deinit { writer.wait() }

  /// Bytes that this rank writes.
  public var partBytes: Int { layout.count(of: group.rank) * MemoryLayout<Float>.stride }

  public var isIdle: Bool { if case .idle = stage { true } else { false } }

  /// Whether this rank is writing.
  public var isWriting: Bool { writer.isBusy }

  /// Why this rank could not write; nil while it is writing.
  public var failure: CheckpointError? {
    if !isIdle, case .failure(let error) = writer.outcome { error } else { nil }
  }

  // MARK: Saving

  /// Copies the state and starts to write it.
  ///
  /// Not collective, but all ranks call it after the same step. Blocking for the time of the copy,
  /// or, where nothing is done in the background, until this rank's part is on the disk.
  ///
  /// - Precondition: It is idle.
  public func begin(_ header: CheckpointHeader, fault: WriteFault? = nil) throws(CollectiveError) {
    precondition(isIdle, "a checkpoint is being written")
    let errors = optimizer.wireBuffers?.roundingErrors
    var segments = self.segments + (errors?.values ?? [])
    if options.isAsynchronous { segments = [copied(segments)] }
    let counts = try partCounts(roundingErrors: errors?.values.reduce(0) { $0 + $1.count } ?? 0)
    let part = PartSource(
      rank: group.rank, step: header.step, segments: segments, roundingErrors: errors?.table ?? [])
    let logical =
      group.rank == 0
      ? LogicalFile(
        header: header, layout: layout, names: StateNames(optimizer.tree, buffers),
        partCounts: counts, exchange: optimizer.exchangeIdentity) : nil
    let job = CheckpointJob(
      folder: options.folder, part: part, logical: logical, fault: fault, reach: options.reach)
    stage = .writing(job)
    writer.start(inBackground: options.isAsynchronous) { [track = options.track] in
      Result { () throws(CheckpointError) in
        try track.span("write part") { () throws(CheckpointError) in try job.write() }
      }
    }
  }

  /// Goes on to the next stage.
  ///
  /// Collective. To be called when no rank is writing any more and none has failed.
  ///
  /// - Returns: The path of the checkpoint, when there is one.
  public func advance() throws(CollectiveError) -> String? {
    switch stage {
    case .idle: return nil
    case .writing(let job):
      let entries = try gather()
      stage = .committing(job)
      guard group.rank == 0 else { return nil }
      let options = self.options
      writer.start(inBackground: options.isAsynchronous) {
        Result { () throws(CheckpointError) in
          do { try options.beforeCommit() } catch {
            throw .io(path: job.path, reason: "\(error)")
          }
          try job.commit(entries)
          CheckpointSaver.prune(options)
          return []
        }
      }
      return nil
    case .committing(let job):
      stage = .idle
      return job.path
    }
  }

  /// Waits for this rank's writing and forgets it, after a failure on any rank.
  public func abandon() {
    writer.wait()
    guard case .writing(let job) = stage else {
      stage = .idle
      return
    }
    stage = .idle
    try? Files.remove("\(job.temporary)/\(CheckpointFormat.partName(group.rank))")
  }

  /// Older checkpoints that cannot be removed now can be the next time.
  private static func prune(_ options: Options) {
    let folder = CheckpointFolder(options.folder)
    let steps = CheckpointFolder.superfluous(
      folder.steps, keepLast: options.keepLast, keepEvery: options.keepEvery,
      damaged: options.damaged)
    for step in steps { try? folder.remove(folder.path(step: step), reach: options.reach) }
  }

  // MARK: The state

  /// This rank's part of the state where it is.
  private var segments: [UnsafeBufferPointer<Float>] {
    let ranges = layout.parts[group.rank]
    let (first, second) = optimizer.moments
    let parameters = ranges.map { UnsafeBufferPointer(optimizer.parameters.memory($0)) }
    let moments = [first, second].flatMap { shard in
      ranges.map { UnsafeBufferPointer(start: shard.pointer(at: $0.lowerBound), count: $0.count) }
    }
    return parameters + moments + bufferSegments
  }

  private var bufferSegments: [UnsafeBufferPointer<Float>] {
    let own = layout.buffers[group.rank]
    return zip(buffers, StateNames(optimizer.tree, buffers).buffers).map { buffer, tensor in
      let places = tensor.places.clamped(to: own)
      return UnsafeBufferPointer(
        start: buffer.tensor.pointer + (places.isEmpty ? 0 : places.lowerBound - tensor.place),
        count: places.count)
    }
  }

  private func copied(_ segments: [UnsafeBufferPointer<Float>]) -> UnsafeBufferPointer<Float> {
    let count = segments.reduce(0) { $0 + $1.count }
    let storage = copy.flatMap { $0.count == count ? $0 : nil } ?? self.storage(count)
    copy = storage
    StateCopy.run(segments, to: storage.pointer, pool)
    return UnsafeBufferPointer(start: storage.pointer, count: count)
  }

  private func storage(_ count: Int) -> Storage {
    HeapAllocator().allocate(count: count, purpose: "copy of the state")
  }

  /// Collective: values of each rank's part.
  private func partCounts(roundingErrors: Int) throws(CollectiveError) -> [Int] {
    let own = optimizer.wireBuffers == nil ? nil : [UInt64(roundingErrors)]
    let errors = try own.map { (own) throws(CollectiveError) in try gather(own) }
    return layout.parts.indices.map { layout.count(of: $0) + Int(errors?[$0] ?? 0) }
  }

  // MARK: Entries of all ranks

  /// Collective. Those of the logical file and of all parts; complete on the first rank.
  private func gather() throws(CollectiveError) -> [Manifest.Entry] {
    guard case .success(let own) = writer.outcome, let part = own.last else {
      preconditionFailure("gathered before it was written")
    }
    let numbers = try gather([
      UInt64(part.size), UInt64(part.data.lowerBound), UInt64(part.data.count),
      UInt64(part.xxh64, radix: 16) ?? 0,
    ])
    let parts = (0..<group.worldSize).map { rank in
      let (size, start, count) = (
        Int(numbers[4 * rank]), Int(numbers[4 * rank + 1]), Int(numbers[4 * rank + 2])
      )
      return Manifest.Entry(
        name: CheckpointFormat.partName(rank), size: size, data: start..<start + count,
        xxh64: Hash64.hex(numbers[4 * rank + 3]))
    }
    return own.dropLast() + parts
  }

  private func gather(_ own: [UInt64]) throws(CollectiveError) -> [UInt64] {
    let bytes = own.flatMap { value in
      (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    let all = try group.allGather(bytes)
    return stride(from: 0, to: all.count, by: 8).map { start in
      (0..<8).reduce(0) { $0 | UInt64(all[start + $1]) << (8 * UInt64($1)) }
    }
  }
}

/// Copies segments one behind the other, on all kernel threads.
public enum StateCopy {
  private static let pieceCount = 1 << 18

  public static func run(
    _ segments: [UnsafeBufferPointer<Float>], to target: UnsafeMutablePointer<Float>,
    _ pool: ThreadPool
  ) {
    var pieces: [(source: UnsafePointer<Float>, target: UnsafeMutablePointer<Float>, count: Int)] =
      []
    var next = target
    for segment in segments {
      guard let base = segment.baseAddress else { continue }
      for start in stride(from: 0, to: segment.count, by: pieceCount) {
        let count = min(pieceCount, segment.count - start)
        pieces.append((base + start, next, count))
        next += count
      }
    }
    pool.run(pieces.count, as: .dataMovement) { index, _ in
      pieces[index].target.update(from: pieces[index].source, count: pieces[index].count)
    }
  }
}
