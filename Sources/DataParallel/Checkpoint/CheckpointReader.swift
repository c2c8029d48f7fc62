import Files
import HDF5
public import NN
import TensorCore

/// A checkpoint on disk whose files, but for the data in them, are what its manifest says. Data is
/// checked as it is read.
public final class CheckpointReader {
  public let path: String
  private let logical: LogicalFile
  private let index: StateLayout.Index
  private let entries: [Manifest.Entry]
  private var parts: [Int: PartReader] = [:]
  /// Bytes of the logical file.
  private let logicalBytes: Int

  public var header: CheckpointHeader { logical.header }
  /// Ranks that have written it.
  public var worldSize: Int { logical.layout.parts.count }
  /// Bytes of all files.
  public var byteCount: Int { entries.reduce(0) { $0 + $1.size } }
  /// Bytes read so far.
  public var bytesRead: Int { parts.values.reduce(logicalBytes) { $0 + $1.bytesRead } }

  /// Opens a checkpoint folder. Checks the manifest, the logical file and that all parts are there.
  public init(path: String) throws(CheckpointError) {
    self.path = path
    let manifest = try CheckpointReader.manifest(of: path)
    entries = manifest.entries
    logicalBytes = entries[0].size
    let entries = entries
    logical = try CheckpointReader.wrapped(path) {
      try CheckpointReader.openLogical(path, entries, step: manifest.step)
    }
    index = StateLayout.Index(logical.layout)
  }

  static func manifest(of path: String) throws(CheckpointError) -> Manifest {
    let manifestPath = "\(path)/\(CheckpointFormat.manifest)"
    guard Files.exists(manifestPath) else { throw .incomplete(path: path) }
    return try wrapped(path) {
      do throws(Manifest.Failure) {
        return try Manifest(text: (try? Files.readText(manifestPath)) ?? "")
      } catch {
        if case .other(let version) = error {
          throw version > CheckpointFormat.version
            ? CheckpointError.newerFormat(path: path, version: version)
            : CheckpointError.olderFormat(path: path, version: version)
        }
        throw CheckpointDamage(reason: "its manifest is not what was written")
      }
    }
  }

  private static func openLogical(
    _ path: String, _ entries: [Manifest.Entry], step: Int
  ) throws -> LogicalFile {
    let file = "\(path)/\(CheckpointFormat.file)"
    try FileCheck.require(entries[0], at: file)
    let counts = entries.dropFirst().map { $0.data.count / MemoryLayout<Float>.stride }
    let logical = try LogicalFile(
      reading: HDF5File(path: file, .readOnly).root, partCounts: Array(counts))
    guard logical.header.step == step, logical.layout.parts.count == counts.count else {
      throw CheckpointDamage(reason: "its files do not belong together")
    }
    for entry in entries.dropFirst() {
      try FileCheck.requireSize(entry, at: "\(path)/\(entry.name)")
    }
    return logical
  }

  // MARK: Reading

  /// What a run wants of a checkpoint.
  public struct Request {
    let kind: StateKind
    /// Places of the flat layout of the run, or of its buffers.
    let range: Range<Int>
    let memory: UnsafeMutablePointer<Float>

    public static func parameters(
      _ range: Range<Int>, of buffer: FlatBuffer
    ) -> Request {
      Request(kind: .parameters, range: range, memory: buffer.pointer + range.lowerBound)
    }

    /// All ranges of both moments.
    public static func moments(first: ShardBuffer, second: ShardBuffer) -> [Request] {
      [(StateKind.firstMoments, first), (.secondMoments, second)].flatMap { kind, shard in
        shard.ranges.enumerated().map {
          Request(kind: kind, range: $1, memory: shard.pointer(range: $0))
        }
      }
    }
  }

  /// Fills the memory of all requests, and all buffers. The model's parameters have to be those of
  /// the checkpoint, by name and shape; their places may differ.
  public func read(
    _ requests: [Request], _ tree: ParameterTree, _ buffers: [NamedBuffer]
  ) throws(CheckpointError) {
    let wanted = StateNames(tree, buffers)
    let saved = try requireSame(wanted)
    var reads: [Int: [PartReader.Request]] = [:]
    for request in requests {
      for tensor in overlapping(request.range, wanted.parameters) {
        let places = tensor.places.clamped(to: request.range)
        add(
          request.kind, places, shift: (saved[tensor.name] ?? 0) - tensor.place,
          to: request.memory + (places.lowerBound - request.range.lowerBound), &reads)
      }
    }
    for (buffer, tensor) in zip(buffers, wanted.buffers) {
      add(
        .buffers, tensor.places, shift: (saved["buffers/\(tensor.name)"] ?? 0) - tensor.place,
        to: buffer.tensor.pointer, &reads)
    }
    let path = self.path
    try CheckpointReader.wrapped(path) {
      for (part, requests) in reads.sorted(by: { $0.key < $1.key }) {
        try open(part).read(requests)
      }
    }
  }

  private func overlapping(
    _ range: Range<Int>, _ tensors: [StateNames.Tensor]
  ) -> ArraySlice<StateNames.Tensor> {
    let first = tensors.partitioningIndex { $0.places.upperBound > range.lowerBound }
    let last = tensors.partitioningIndex { $0.place >= range.upperBound }
    return first < last ? tensors[first..<last] : []
  }

  /// - Parameter shift: From places of the run to those of the checkpoint.
  private func add(
    _ kind: StateKind, _ places: Range<Int>, shift: Int, to memory: UnsafeMutablePointer<Float>,
    _ reads: inout [Int: [PartReader.Request]]
  ) {
    let saved = places.lowerBound + shift..<places.upperBound + shift
    for location in index.locations(kind, saved) {
      let target = UnsafeMutableBufferPointer(
        start: memory + (location.places.lowerBound - saved.lowerBound),
        count: location.places.count)
      reads[location.part, default: []].append(
        PartReader.Request(offset: location.offset, memory: target))
    }
  }

  /// - Returns: Places in the checkpoint by name; of buffers with "buffers/" before.
  private func requireSame(_ wanted: StateNames) throws(CheckpointError) -> [String: Int] {
    var places: [String: Int] = [:]
    for (prefix, mine, saved) in [
      ("", wanted.parameters, logical.names.parameters),
      ("buffers/", wanted.buffers, logical.names.buffers),
    ] {
      let found = Dictionary(uniqueKeysWithValues: saved.map { ($0.name, $0) })
      for tensor in mine {
        guard let other = found[tensor.name] else {
          throw .mismatch(path: path, reason: "it has no \(prefix)\(tensor.name)")
        }
        guard other.shape == tensor.shape else {
          throw .mismatch(
            path: path,
            reason: "\(prefix)\(tensor.name) is \(other.shape), the model needs \(tensor.shape)")
        }
        places[prefix + tensor.name] = other.place
      }
      let known = Set(mine.map(\.name))
      if prefix.isEmpty, let extra = saved.first(where: { !known.contains($0.name) }) {
        throw .mismatch(path: path, reason: "the model has no parameter \(extra.name)")
      }
    }
    return places
  }

  // MARK: Rounding errors

  /// Whether it was written by the same number of ranks, which exchanged gradients in the same way.
  public func hasSameExchange(_ exchange: String) -> Bool { logical.exchange == exchange }

  /// Fills the rounding errors of a rank.
  func readRoundingErrors(
    ofRank rank: Int, into errors: (_ table: [Int64]) -> [UnsafeMutableBufferPointer<Float>]
  ) throws(CheckpointError) {
    let path = self.path
    try CheckpointReader.wrapped(path) {
      let part = try open(rank)
      var offset = logical.layout.count(of: rank)
      let requests = errors(part.roundingErrors).map { memory in
        defer { offset += memory.count }
        return PartReader.Request(offset: offset, memory: memory)
      }
      try part.read(requests)
    }
  }

  // MARK: Checking

  /// Reads and checks every byte.
  public func verify() throws(CheckpointError) {
    try CheckpointReader.wrapped(path) {
      for part in entries.indices.dropFirst() { try open(part - 1).verify() }
    }
  }

  /// The logical file, for those who read tensor by tensor.
  public var file: String { "\(path)/\(CheckpointFormat.file)" }

  private func open(_ part: Int) throws -> PartReader {
    if let reader = parts[part] { return reader }
    let reader = try PartReader(entries[part + 1], in: path)
    parts[part] = reader
    return reader
  }

  /// What goes wrong with a file is damage of the checkpoint.
  private static func wrapped<Value>(
    _ path: String, _ body: () throws -> Value
  ) throws(CheckpointError) -> Value {
    do {
      return try body()
    } catch let error as CheckpointError {
      throw error
    } catch {
      throw .damaged(path: path, reason: "\(error)")
    }
  }
}
