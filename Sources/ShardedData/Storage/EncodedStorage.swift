import Files
import HDF5

/// Our own encoded shards: image files one after the other in `bytes`, which is stored in one
/// piece, so that a sample is one read of the file, outside of the HDF5 library and its lock.
final class EncodedStorage: ShardStorage {
  let header: ShardHeader
  private let bytes: HDF5Dataset
  private let keys: TextReader
  private let offsets: BlockReader<Int64>
  private let checksums: BlockReader<UInt32>
  private let labels: LabelReader
  /// The file and where `bytes` begins in it; nil where the dataset is in pieces.
  private let direct: (file: RandomAccessFile, start: Int)?

  init(_ file: ShardFile) throws(ShardError) {
    let bytes = try file.bytes(ShardFormat.bytes, shape: "[bytes]") { $0.count == 1 }
    let labels = try file.dataset(ShardFormat.labels)
    guard labels.shape.count == 1 else {
      throw .wrongShape(
        path: file.path, dataset: ShardFormat.labels, found: labels.shape, expected: "[samples]")
    }
    let count = labels.shape[0]
    guard count > 0 else { throw .noSamples(path: file.path) }
    let (classNames, source) = try file.ownAttributes()
    self.labels = LabelReader(
      try file.integers(ShardFormat.labels, count: count), path: file.path,
      classCount: classNames.count)
    offsets = BlockReader(try file.integers(ShardFormat.offsets, count: count + 1))
    checksums = BlockReader(try file.integers(ShardFormat.checksums, count: count))
    keys = try file.keys(count: count)
    self.bytes = bytes
    direct = try file.directAccess(to: bytes)
    header = ShardHeader(
      path: file.path, layout: .encoded, count: count, imageShape: nil, classNames: classNames,
      source: source, chunkRows: 1)
  }

  func label(of row: Int) throws(ShardError) -> Int32 { try labels.label(of: row) }

  func key(of row: Int) throws(ShardError) -> String { try keys.text(of: row) }

  func read(_ row: Int, into sample: StoredSample) throws(ShardError) {
    sample.begin(shard: header.path, row: row, label: try labels.label(of: row))
    let (start, end, checksum) = try reading(path: header.path, row: row) {
      () throws(HDF5Error) in
      (
        Int(try offsets.element(at: row)), Int(try offsets.element(at: row + 1)),
        try checksums.element(at: row)
      )
    }
    guard start >= 0, start <= end, end <= bytes.count else {
      throw .damaged(
        path: header.path, row: row, key: "",
        reason: "its offsets \(start) to \(end) do not lie in the \(bytes.count) bytes")
    }
    try requireSampleSize(end - start, path: header.path, row: row)
    try read(start..<end, of: row, into: sample.reserve(end - start))
    sample.finish(.encoded, count: end - start, checksum: checksum)
  }

  private func read(
    _ range: Range<Int>, of row: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(ShardError) {
    guard let direct else {
      return try reading(path: header.path, row: row) { () throws(HDF5Error) in
        try bytes.read(
          into: buffer.bindMemory(to: UInt8.self), start: [range.lowerBound], count: [range.count])
      }
    }
    try direct.file.read(
      direct.start + range.lowerBound, of: row, path: header.path, into: buffer)
  }
}
