import Files
import HDF5

/// Our own raw shards: `images` UInt8 `[N, H, W, C]`, in chunks of images that lie one behind the
/// other, so that a sample is one read of the file, outside of the HDF5 library and its lock.
final class RawStorage: ShardStorage {
  let header: ShardHeader
  private let shape: ImageShape
  private let images: HDF5Dataset
  private let labels: LabelReader
  private let keys: TextReader?
  /// Older shards have none: the library checks their chunks.
  private let checksums: BlockReader<UInt32>?
  /// The file and where the images begin in it; nil where only the library finds them.
  private let direct: (file: RandomAccessFile, start: Int)?

  init(_ file: ShardFile) throws(ShardError) {
    let images = try file.bytes(
      ShardFormat.images, shape: "[samples, height, width, channels]"
    ) { $0.count == 4 && !$0.dropFirst().contains(0) }
    guard images.shape[0] > 0 else { throw .noSamples(path: file.path) }
    let extents = images.shape
    shape = try file.imageShape(
      height: extents[1], width: extents[2], channels: extents[3], dataset: ShardFormat.images)
    let (classNames, source) = try file.ownAttributes()
    labels = LabelReader(
      try file.integers(ShardFormat.labels, count: extents[0]), path: file.path,
      classCount: classNames.count)
    keys = try file.has(ShardFormat.keys) ? try file.keys(count: extents[0]) : nil
    checksums =
      try file.has(ShardFormat.checksums)
      ? BlockReader(try file.integers(ShardFormat.checksums, count: extents[0])) : nil
    self.images = images
    direct = try RawStorage.directAccess(to: images, file, shape)
    header = ShardHeader(
      path: file.path, layout: .raw, count: extents[0], imageShape: shape, classNames: classNames,
      source: source, chunkRows: images.chunk?[0] ?? 1)
  }

  func label(of row: Int) throws(ShardError) -> Int32 { try labels.label(of: row) }

  func key(of row: Int) throws(ShardError) -> String {
    guard let keys else { return defaultKey(path: header.path, row: row) }
    return try keys.text(of: row)
  }

  /// The file and where the images begin in it, by looking: whether addresses of chunks count from
  /// the beginning of the file or from the end of its user block depends on the library's version.
  private static func directAccess(
    to images: HDF5Dataset, _ file: ShardFile, _ shape: ImageShape
  ) throws(ShardError) -> (file: RandomAccessFile, start: Int)? {
    guard let (access, offset) = try file.directAccess(to: images) else { return nil }
    let userBlock = try storing { () throws(HDF5Error) in try file.root.file.userBlock }
    var candidates = Set([offset, offset + userBlock])
    let size = shape.byteCount
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * size, alignment: 64)
    defer { buffer.deallocate() }
    let one = UnsafeMutableRawBufferPointer(rebasing: buffer[..<size])
    let other = UnsafeMutableRawBufferPointer(rebasing: buffer[size...])
    for row in Set([0, images.shape[0] / 2, images.shape[0] - 1]) {
      try reading(path: file.path, row: row) { () throws(HDF5Error) in
        try images.read(
          into: one.bindMemory(to: UInt8.self), start: [row, 0, 0, 0],
          count: [1, shape.height, shape.width, shape.channels])
      }
      for start in candidates {
        let count = try handling { () throws(FileError) in
          try access.read(at: start + row * size, into: other)
        }
        if count < size || !one.elementsEqual(other) { candidates.remove(start) }
      }
    }
    // Where more than one fits, the library has to find the images.
    guard let start = candidates.first, candidates.count == 1 else { return nil }
    return (access, start)
  }

  func read(_ row: Int, into sample: StoredSample) throws(ShardError) {
    sample.begin(shard: header.path, row: row, label: try labels.label(of: row))
    let checksum = try reading(path: header.path, row: row) { () throws(HDF5Error) in
      try checksums?.element(at: row)
    }
    let size = shape.byteCount
    let buffer = sample.reserve(size)
    if let direct {
      try direct.file.read(
        direct.start + row * size, of: row, path: header.path, into: buffer)
    } else {
      try reading(path: header.path, row: row) { () throws(HDF5Error) in
        try images.read(
          into: buffer.bindMemory(to: UInt8.self), start: [row, 0, 0, 0],
          count: [1, shape.height, shape.width, shape.channels])
      }
    }
    sample.finish(.interleaved(shape), count: size, checksum: checksum)
  }
}

/// The key of a sample in a file that names none: the same wherever the file lies.
func defaultKey(path: String, row: Int) -> String {
  "\(path.split(separator: "/").last ?? ""):\(row)"
}
