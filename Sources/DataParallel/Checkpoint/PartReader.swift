import Files
import Glibc
import HDF5

/// Reads values of one part, whole blocks at a time, and compares each block with its checksum.
final class PartReader {
  /// Bytes read so far.
  private(set) var bytesRead = 0
  private let file: RandomAccessFile
  private let entry: Manifest.Entry
  private let checksums: [UInt64]
  /// See `RoundingErrors.table`.
  let roundingErrors: [Int64]
  private var buffer = [UInt8](repeating: 0, count: 16 * CheckpointFormat.blockBytes)

  /// Checks everything of the file but its data.
  ///
  /// - Parameter folder: Of the checkpoint.
  init(_ entry: Manifest.Entry, in folder: String) throws {
    let path = "\(folder)/\(entry.name)"
    self.entry = entry
    try FileCheck.require(entry, at: path)
    bytesRead += entry.size - entry.data.count
    file = try RandomAccessFile(path: path)
    let root = try HDF5File(path: path, .readOnly).root
    checksums = try root.dataset(PartWriter.checksums).read()
    let blockBytes = try root.integerAttribute("blockBytes")
    guard checksums.count == BlockChecksums.count(ofBytes: entry.data.count),
      blockBytes == CheckpointFormat.blockBytes
    else { throw PartReader.damage(entry) }
    roundingErrors =
      try root.exists(PartWriter.roundingErrors)
      ? root.dataset(PartWriter.roundingErrors).read() : []
  }

  /// Values and where they go.
  struct Request {
    /// Of the first one among the part's values.
    let offset: Int
    let memory: UnsafeMutableBufferPointer<Float>

    fileprivate var bytes: Range<Int> {
      offset * MemoryLayout<Float>.stride..<(offset + memory.count) * MemoryLayout<Float>.stride
    }
  }

  /// Fills the memory of all requests. Each block that one of them touches is read once.
  func read(_ requests: [Request]) throws {
    let sorted = requests.filter { !$0.memory.isEmpty }.sorted { $0.offset < $1.offset }
    var next = 0
    var place = 0
    while next < sorted.count {
      // From the block where the next one begins to the end of what follows without a gap.
      place = max(place, PartReader.blockStart(sorted[next].bytes.lowerBound))
      var end = place
      var last = next
      while last < sorted.count, PartReader.blockStart(sorted[last].bytes.lowerBound) <= end {
        end = max(end, min(PartReader.blockEnd(sorted[last].bytes.upperBound), entry.data.count))
        last += 1
      }
      try read(place..<end, sorted[next..<last])
      place = end
      next = last
    }
  }

  /// Reads and checks all data.
  func verify() throws { try read(0..<entry.data.count, []) }

  private func read(_ range: Range<Int>, _ requests: ArraySlice<Request>) throws {
    var place = range.lowerBound
    while place < range.upperBound {
      let count = min(buffer.count, range.upperBound - place)
      let outcome: Result<Void, any Error> = buffer.withUnsafeMutableBytes { memory in
        Result {
          let bytes = UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
          guard try file.read(at: entry.data.lowerBound + place, into: bytes) == count,
            isIntact(UnsafeRawBufferPointer(bytes), at: place)
          else { throw PartReader.damage(entry) }
          for request in requests { deliver(request, UnsafeRawBufferPointer(bytes), at: place) }
        }
      }
      try outcome.get()
      bytesRead += count
      place += count
    }
  }

  private func isIntact(_ bytes: UnsafeRawBufferPointer, at place: Int) -> Bool {
    var found = BlockChecksums()
    found.update(bytes)
    found.finish()
    let first = place / CheckpointFormat.blockBytes
    return found.values[...] == checksums[first..<first + found.values.count]
  }

  private func deliver(_ request: Request, _ bytes: UnsafeRawBufferPointer, at place: Int) {
    let part = request.bytes.clamped(to: place..<place + bytes.count)
    guard !part.isEmpty, let source = bytes.baseAddress, let target = request.memory.baseAddress
    else { return }
    memcpy(
      UnsafeMutableRawPointer(target) + (part.lowerBound - request.bytes.lowerBound),
      source + (part.lowerBound - place), part.count)
  }

  private static func blockStart(_ byte: Int) -> Int {
    byte / CheckpointFormat.blockBytes * CheckpointFormat.blockBytes
  }

  private static func blockEnd(_ byte: Int) -> Int {
    (byte + CheckpointFormat.blockBytes - 1) / CheckpointFormat.blockBytes
      * CheckpointFormat.blockBytes
  }

  private static func damage(_ entry: Manifest.Entry) -> CheckpointDamage {
    CheckpointDamage(reason: "checksum of \(entry.name) differs")
  }
}

/// What is wrong with a file of a checkpoint.
struct CheckpointDamage: Error, CustomStringConvertible {
  let reason: String

  var description: String { reason }
}
