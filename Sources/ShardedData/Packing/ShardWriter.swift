import Files
import HDF5

/// What both kinds of shard writers share: a shard is there completely after `finish` or not at all.
///
/// Until then the file has a hidden temporary name in the same folder; what is left of it is removed
/// when the writer is dropped unfinished, and overwritten by the next one of that name.
public protocol ShardWriter: AnyObject {
  var path: String { get }
  /// Samples appended so far.
  var count: Int { get }
  /// - Throws: `ShardError` for a label without a class name and for a failed write.
  func append(_ image: ImageContent, label: Int32, key: String) throws(ShardError)
  /// Closes the file, waits until the disk has it, and gives it its name.
  ///
  /// - Parameter skipped: What could not be packed, and why.
  /// - Precondition: There is at least one sample.
  func finish(skipped: [String]) throws(ShardError)
}

/// What a shard says of itself beside its samples.
public struct ShardDescription: Sendable {
  public var classNames: [String]
  /// Where the images come from, for people.
  public var source: String
  /// Options that it was packed with.
  public var packing: String

  /// - Precondition: There are class names.
  public init(classNames: [String], source: String, packing: String = "") {
    precondition(!classNames.isEmpty, "a shard without class names")
    (self.classNames, self.source, self.packing) = (classNames, source, packing)
  }
}

/// The file behind a writer.
final class ShardDraft {
  let path: String
  let temporaryPath: String
  let file: HDF5File
  let description: ShardDescription
  private let folder: String
  private(set) var labels: [Int32] = []
  private var keys: [String] = []
  private var isFinished = false

  init(
    folder: String, fileName: String, description: ShardDescription
  ) throws(ShardError) {
    self.folder = folder
    self.description = description
    path = "\(folder)/\(fileName)"
    let temporaryPath = ShardFormat.temporaryPath(folder: folder, fileName: fileName)
    self.temporaryPath = temporaryPath
    try handling { () throws(FileError) in try Files.makeDirectory(folder) }
    file = try storing { () throws(HDF5Error) in
      let file = try HDF5File(path: temporaryPath, .create, userBlock: ShardSeal.size)
      try file.root.setAttribute(ShardFormat.formatVersion, ShardFormat.version)
      try file.root.setAttribute(ShardFormat.classNames, description.classNames)
      try file.root.setAttribute(ShardFormat.source, description.source)
      try file.root.setAttribute(ShardFormat.checksum, ShardFormat.checksumName)
      try file.root.setAttribute(ShardFormat.packing, description.packing)
      return file
    }
  }

  deinit {
    if isFinished { return }
    // Whatever went wrong was thrown before; a leftover is hidden and overwritten next time.
    try? file.close()
    try? Files.remove(temporaryPath)
  }

  func append(label: Int32, key: String) throws(ShardError) {
    guard label >= 0, label < description.classNames.count else {
      throw .labelOutOfRange(
        path: path, row: labels.count, label: Int(label),
        classCount: description.classNames.count)
    }
    labels.append(label)
    keys.append(key)
  }

  func finish(checksums: [UInt32], skipped: [String]) throws(ShardError) {
    let options = DatasetOptions(fletcher32: true)
    try storing { () throws(HDF5Error) in
      let root = file.root
      try root.write(labels, to: ShardFormat.labels, shape: [labels.count], options: options)
      try root.write(
        checksums, to: ShardFormat.checksums, shape: [labels.count], options: options)
      try root.createStrings(ShardFormat.keys, keys)
      if !skipped.isEmpty { try root.createStrings(ShardFormat.skipped, skipped) }
      try file.close()
    }
    try ShardSeal.seal(temporaryPath)
    try handling { () throws(FileError) in
      try Files.synchronize(temporaryPath)
      try Files.rename(temporaryPath, to: path)
    }
    isFinished = true
    try handling { () throws(FileError) in try Files.synchronize(folder) }
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
