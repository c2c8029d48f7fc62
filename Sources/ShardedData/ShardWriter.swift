import Files
import HDF5

/// Writes one shard, which is there completely after `finish` or not at all.
///
/// Until then the file has a hidden temporary name in the same folder, and it is removed when the
/// writer is dropped unfinished.
public final class ShardWriter {
  public let path: String
  private let folder: String
  private let temporaryPath: String
  private let count: Int
  private let imageShape: ImageShape
  private let classCount: Int
  private let file: HDF5File
  private let images: HDF5Dataset
  private let chunkRows: Int
  private var pending: [UInt8] = []
  private var labels: [Int32] = []
  private var isFinished = false

  /// - Parameters:
  ///   - folder: Made if it is missing.
  ///   - count: How many samples will be appended.
  ///   - source: Where the images come from, for people.
  /// - Precondition: `count` is at least 1 and there are class names.
  public init(
    folder: String, fileName: String, count: Int, imageShape: ImageShape, classNames: [String],
    source: String
  ) throws(ShardError) {
    precondition(count >= 1 && !classNames.isEmpty, "a shard of \(count) samples, \(classNames)")
    self.folder = folder
    self.count = count
    self.imageShape = imageShape
    classCount = classNames.count
    path = "\(folder)/\(fileName)"
    let temporaryPath = "\(folder)/.\(fileName).partial"
    self.temporaryPath = temporaryPath
    let chunkRows = ShardFormat.chunkRows(imageShape: imageShape, count: count)
    self.chunkRows = chunkRows
    try handling { () throws(FileError) in try Files.makeDirectory(folder) }
    (file, images) = try storing { () throws(HDF5Error) in
      let file = try HDF5File(path: temporaryPath, .create)
      try file.root.setAttribute(ShardFormat.formatVersion, ShardFormat.version)
      try file.root.setAttribute(ShardFormat.classNames, classNames)
      try file.root.setAttribute(ShardFormat.source, source)
      try file.root.setAttribute(ShardFormat.checksum, ShardFormat.checksumName)
      let extents = [imageShape.height, imageShape.width, imageShape.channels]
      let images = try file.root.createDataset(
        ShardFormat.images, of: UInt8.self, shape: [count] + extents,
        options: DatasetOptions(chunk: [chunkRows] + extents, fletcher32: true))
      return (file, images)
    }
  }

  deinit {
    if isFinished { return }
    // Whatever went wrong was thrown before; a leftover is hidden and overwritten next time.
    try? file.close()
    try? Files.remove(temporaryPath)
  }

  /// Adds a sample.
  ///
  /// - Parameter image: `[height, width, channels]`.
  /// - Throws: `ShardError` for a label without a class name and for a failed write.
  public func append(image: [UInt8], label: Int32) throws(ShardError) {
    precondition(labels.count < count, "more than \(count) samples for \(path)")
    precondition(image.count == imageShape.byteCount, "\(image.count) bytes for \(imageShape)")
    guard label >= 0, label < classCount else {
      throw .labelOutOfRange(
        path: path, row: labels.count, label: Int(label), classCount: classCount)
    }
    pending += image
    labels.append(label)
    // Whole chunks, so that none is read back and written twice.
    if labels.count % chunkRows == 0 || labels.count == count { try writePending() }
  }

  /// Closes the file, waits until the disk has it, and gives it its name.
  ///
  /// - Precondition: As many samples were appended as announced.
  public func finish() throws(ShardError) {
    precondition(labels.count == count, "\(labels.count) of \(count) samples for \(path)")
    try storing { () throws(HDF5Error) in
      try file.root.write(labels, to: ShardFormat.labels, shape: [count])
      try file.close()
    }
    try handling { () throws(FileError) in
      try Files.synchronize(temporaryPath)
      try Files.rename(temporaryPath, to: path)
    }
    isFinished = true
    try handling { () throws(FileError) in try Files.synchronize(folder) }
  }

  private func writePending() throws(ShardError) {
    let rows = pending.count / imageShape.byteCount
    // A typed error cannot leave a closure of the standard library, hence the detour.
    let outcome = pending.withUnsafeBufferPointer { buffer in
      Result { () throws(HDF5Error) in
        try images.write(
          from: buffer, start: [labels.count - rows, 0, 0, 0],
          count: [rows, imageShape.height, imageShape.width, imageShape.channels])
      }
    }
    try storing { () throws(HDF5Error) in try outcome.get() }
    pending.removeAll(keepingCapacity: true)
  }
}

/// Runs calls on files and turns their errors into this module's.
func handling<Result>(
  _ body: () throws(FileError) -> Result
) throws(ShardError) -> Result {
  do throws(FileError) {
    return try body()
  } catch {
    throw .file(error)
  }
}
