import Files
import HDF5

/// Where a rank is in a checkpoint, for those who want to end it there.
public enum CheckpointPhase: String, Sendable, CaseIterable {
  /// Half of a part's data is written.
  case part
  /// The manifest is written, but has not got its name.
  case manifest
  /// Everything is written, but the checkpoint has not got its name.
  case rename
  /// An older checkpoint is half removed.
  case prune
}

/// The values of one rank's part: memory that stays as it is while they are written.
struct PartSource: @unchecked Sendable {
  // Sendable: the owner of the memory waits for the writer before it changes anything.
  let rank: Int
  let step: Int
  /// All values of the part, in their order.
  let segments: [UnsafeBufferPointer<Float>]
  /// What the last of them are: see `RoundingErrors.table`.
  let roundingErrors: [Int64]

  var count: Int { segments.reduce(0) { $0 + $1.count } }
}

/// Writes a part: an HDF5 file with the dataset `values`, one block of data, and `checksums`, XXH64
/// of each 64 KiB of it.
///
/// The library makes the file; the data goes past it by plain writes, so that nobody waits for its
/// lock. Checksums are of the memory, not of what the disk gives back.
struct PartWriter {
  static let values = "values"
  static let checksums = "checksums"
  static let roundingErrors = "roundingErrors"
  private static let pieceBytes = 1 << 20
  /// The disk writes while checksums of what follows are computed.
  private static let flushBytes = 8 << 20

  private let path: String
  private let source: PartSource
  private let fault: WriteFault?
  private let reach: @Sendable (CheckpointPhase) -> Void

  /// - Parameters:
  ///   - fault: Happens to the first write of data.
  ///   - reach: Called at `.part`.
  init(
    _ source: PartSource, to path: String, fault: WriteFault?,
    reach: @escaping @Sendable (CheckpointPhase) -> Void
  ) {
    self.path = path
    self.source = source
    self.fault = fault
    self.reach = reach
  }

  /// Blocking, to the disk.
  ///
  /// - Returns: What the manifest says of the file.
  func write() throws -> Manifest.Entry {
    let places = try create()
    let file = try WritableFile(path: path, fault: fault)
    var checksums = BlockChecksums()
    var (offset, flushed) = (places.data, places.data)
    let half = places.data + source.count * MemoryLayout<Float>.stride / 2
    for segment in source.segments {
      var rest = UnsafeRawBufferPointer(segment)
      while !rest.isEmpty {
        let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(PartWriter.pieceBytes))
        checksums.update(piece)
        try file.write(piece, at: offset)
        if offset < half, offset + piece.count >= half { reach(.part) }
        offset += piece.count
        if offset - flushed >= PartWriter.flushBytes {
          file.beginFlush(flushed..<offset)
          flushed = offset
        }
        rest = UnsafeRawBufferPointer(rebasing: rest[piece.count...])
      }
    }
    checksums.finish()
    let table = checksums.values
    try table.withUnsafeBufferPointer { (values) throws(FileError) in
      try file.write(UnsafeRawBufferPointer(values), at: places.checksums)
    }
    try file.synchronize()
    return try FileCheck.entry(path, data: places.data..<offset)
  }

  /// Makes the file with everything but data and checksums.
  ///
  /// - Returns: Where those begin.
  private func create() throws -> (data: Int, checksums: Int) {
    let count = source.count
    let file = try HDF5File(path: path, .create)
    let root = file.root
    try root.setAttribute("formatVersion", CheckpointFormat.version)
    try root.setAttribute("step", source.step)
    try root.setAttribute("rank", source.rank)
    try root.setAttribute("blockBytes", CheckpointFormat.blockBytes)
    if !source.roundingErrors.isEmpty {
      try root.write(
        source.roundingErrors, to: PartWriter.roundingErrors,
        shape: [source.roundingErrors.count / 4, 4])
    }
    let options = DatasetOptions(isPreallocated: true)
    let blocks = BlockChecksums.count(ofBytes: count * MemoryLayout<Float>.stride)
    let checksums = try root.createDataset(
      PartWriter.checksums, of: UInt64.self, shape: [blocks], options: options)
    let values = try root.createDataset(
      PartWriter.values, of: Float.self, shape: [count], options: options)
    let places = (data: try values.fileOffset, checksums: try checksums.fileOffset)
    try file.close()
    guard count > 0 else { return (0, 0) }
    guard let data = places.data, let checksums = places.checksums else {
      throw CheckpointError.io(path: path, reason: "the HDF5 library has not laid out its data")
    }
    return (data, checksums)
  }
}

/// Sizes and checksums of files as manifests have them.
enum FileCheck {
  /// Compares a file, but for its data, with what it has to be.
  static func require(_ entry: Manifest.Entry, at path: String) throws {
    try requireSize(entry, at: path)
    guard try self.entry(path, data: entry.data) == entry else {
      throw CheckpointDamage(reason: "checksum of \(entry.name) differs")
    }
  }

  /// Whether a file is there, without reading it.
  static func requireSize(_ entry: Manifest.Entry, at path: String) throws {
    guard Files.exists(path) else { throw CheckpointDamage(reason: "\(entry.name) is missing") }
    let size = try Files.size(of: path)
    guard size == entry.size else {
      throw CheckpointDamage(
        reason: "\(entry.name) has \(size) bytes instead of \(entry.size)")
    }
  }

  /// - Parameter data: Bytes that have checksums of their own.
  static func entry(_ path: String, data: Range<Int>) throws(FileError) -> Manifest.Entry {
    let file = try RandomAccessFile(path: path)
    var hash = Hash64()
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    for range in [0..<data.lowerBound, data.upperBound..<file.size] where !range.isEmpty {
      var place = range.lowerBound
      while place < range.upperBound {
        let wanted = min(chunk.count, range.upperBound - place)
        let count = try chunk.withUnsafeMutableBufferPointer { (buffer) throws(FileError) in
          try file.read(
            at: place,
            into: UnsafeMutableRawBufferPointer(
              UnsafeMutableBufferPointer(rebasing: buffer[..<wanted])))
        }
        if count == 0 { break }
        chunk.withUnsafeBytes { hash.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        place += count
      }
    }
    let name = path.split(separator: "/").last.map(String.init) ?? path
    return Manifest.Entry(
      name: name, size: file.size, data: data, xxh64: Hash64.hex(hash.finalize()))
  }
}
