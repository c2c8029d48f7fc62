import Files
import HDF5

/// Reads one shard. The file is opened at the first use, without a file lock, and stays open.
///
/// Not for use from two threads at once.
public final class ShardReader {
  public let path: String
  private var opened: Opened?

  private struct Opened {
    let images: HDF5Dataset
    let labels: HDF5Dataset
    let header: ShardHeader
  }

  public init(path: String) { self.path = path }

  /// - Throws: `ShardError` when there is no such file or it is not a shard.
  public func header() throws(ShardError) -> ShardHeader { try open().header }

  /// All labels, each checked against the class names.
  public func labels() throws(ShardError) -> [Int32] {
    let opened = try open()
    let labels = try reading(rows: 0..<opened.header.count) { () throws(HDF5Error) in
      try opened.labels.read(as: Int32.self)
    }
    let classCount = opened.header.classNames.count
    if let row = labels.firstIndex(where: { $0 < 0 || $0 >= classCount }) {
      throw .labelOutOfRange(
        path: path, row: row, label: Int(labels[row]), classCount: classCount)
    }
    return labels
  }

  /// Reads the images of some rows.
  ///
  /// - Parameter buffer: Overwritten, `[rows.count, height, width, channels]`.
  /// - Throws: `ShardError.damaged` when a checksum is wrong.
  public func read(
    rows: Range<Int>, into buffer: UnsafeMutableBufferPointer<UInt8>
  ) throws(ShardError) {
    let opened = try open()
    let shape = opened.header.imageShape
    try reading(rows: rows) { () throws(HDF5Error) in
      try opened.images.read(
        into: buffer, start: [rows.lowerBound, 0, 0, 0],
        count: [rows.count, shape.height, shape.width, shape.channels])
    }
  }

  /// The images of some rows, `[rows.count, height, width, channels]`.
  public func images(rows: Range<Int>) throws(ShardError) -> [UInt8] {
    var pixels = [UInt8](repeating: 0, count: rows.count * (try header().imageShape.byteCount))
    let outcome = pixels.withUnsafeMutableBufferPointer { buffer in
      Result { () throws(ShardError) in try read(rows: rows, into: buffer) }
    }
    try outcome.get()
    return pixels
  }

  private func reading<Result>(
    rows: Range<Int>, _ body: () throws(HDF5Error) -> Result
  ) throws(ShardError) -> Result {
    do throws(HDF5Error) {
      return try body()
    } catch {
      throw .damaged(path: path, rows: rows, underlying: error)
    }
  }

  private func open() throws(ShardError) -> Opened {
    if let opened { return opened }
    guard Files.exists(path) else { throw .missing(path: path) }
    let root = try storing { () throws(HDF5Error) in try HDF5File(path: path, .readOnly).root }
    let images = try dataset(ShardFormat.images, of: root)
    let labels = try dataset(ShardFormat.labels, of: root)
    try check(images, labels)
    let result = Opened(
      images: images, labels: labels, header: try readHeader(root, images: images))
    opened = result
    return result
  }

  private func readHeader(
    _ root: HDF5Group, images: HDF5Dataset
  ) throws(ShardError) -> ShardHeader {
    for name in [ShardFormat.formatVersion, ShardFormat.classNames, ShardFormat.source] {
      guard try storing({ () throws(HDF5Error) in try root.hasAttribute(name) }) else {
        throw .notAShard(path: path, missing: "attribute '\(name)'")
      }
    }
    let version = try storing { () throws(HDF5Error) in
      try root.integerAttribute(ShardFormat.formatVersion)
    }
    guard version == ShardFormat.version else { throw .formatVersion(path: path, found: version) }
    let shape = images.shape
    return try storing { () throws(HDF5Error) in
      ShardHeader(
        path: path, count: shape[0],
        imageShape: ImageShape(height: shape[1], width: shape[2], channels: shape[3]),
        classNames: try root.stringsAttribute(ShardFormat.classNames),
        source: try root.stringAttribute(ShardFormat.source),
        chunkRows: images.chunk?[0] ?? shape[0])
    }
  }

  private func check(_ images: HDF5Dataset, _ labels: HDF5Dataset) throws(ShardError) {
    guard images.elementType == .uint8 else {
      let found = images.elementType?.rawValue ?? "no numbers"
      throw .wrongType(path: path, dataset: ShardFormat.images, found: found, expected: "uint8")
    }
    guard images.shape.count == 4, !images.shape.dropFirst().contains(0) else {
      throw .wrongShape(
        path: path, dataset: ShardFormat.images, found: images.shape,
        expected: "[samples, height, width, channels]")
    }
    guard images.shape[0] > 0 else { throw .noSamples(path: path) }
    guard labels.shape == [images.shape[0]] else {
      throw .wrongShape(
        path: path, dataset: ShardFormat.labels, found: labels.shape,
        expected: "[\(images.shape[0])]")
    }
  }

  private func dataset(_ name: String, of root: HDF5Group) throws(ShardError) -> HDF5Dataset {
    guard try storing({ () throws(HDF5Error) in try root.exists(name) }) else {
      throw .notAShard(path: path, missing: "dataset '\(name)'")
    }
    return try storing { () throws(HDF5Error) in try root.dataset(name) }
  }
}
