import Files
import HDF5

/// Bytes of a shard's samples, gathered in a file of their own: how many there will be is only known
/// at the end, since images may be left out, and datasets in one piece need their size from the start.
final class SampleSpool {
  private static let copyBytes = 8 << 20

  /// Where each sample begins, and at the end where the last one ends.
  private(set) var offsets: [Int64] = [0]
  /// Fletcher-32 of each sample.
  private(set) var checksums: [UInt32] = []
  private let path: String
  private let file: AppendingFile

  init(path: String) throws(ShardError) {
    self.path = path
    file = try handling { () throws(FileError) in
      // Of a writer that was killed.
      if Files.exists(path) { try Files.remove(path) }
      return try AppendingFile(path: path)
    }
  }

  deinit { try? Files.remove(path) }

  var byteCount: Int { Int(offsets.last ?? 0) }

  func append(_ bytes: [UInt8]) throws(ShardError) {
    try handling { () throws(FileError) in try file.append(bytes) }
    offsets.append(Int64(byteCount + bytes.count))
    checksums.append(bytes.withUnsafeBytes { Fletcher32.checksum($0) })
  }

  /// Fills a dataset with all bytes, in blocks of whole multiples of `unit`.
  ///
  /// - Parameter write: Stores a block that begins at a byte.
  func copy(
    unit: Int, _ write: (UnsafeBufferPointer<UInt8>, Int) throws(HDF5Error) -> Void
  ) throws(ShardError) {
    let source = try handling { () throws(FileError) in try RandomAccessFile(path: path) }
    let size = max(1, SampleSpool.copyBytes / unit) * unit
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    defer { block.deallocate() }
    for start in stride(from: 0, to: byteCount, by: size) {
      let part = UnsafeMutableRawBufferPointer(rebasing: block[..<min(size, byteCount - start)])
      let count = try handling { () throws(FileError) in try source.read(at: start, into: part) }
      guard count == part.count else {
        throw .badSource(path: path, reason: "it has become shorter while it was copied")
      }
      try storing { () throws(HDF5Error) in
        try write(UnsafeBufferPointer(part.bindMemory(to: UInt8.self)), start)
      }
    }
  }
}
