import Files
import HDF5

/// The samples of one open file, whatever its layout.
///
/// Reading does not decode: it brings the stored bytes, which another thread checks and decodes.
protocol ShardStorage: AnyObject {
  var header: ShardHeader { get }
  /// - Precondition: The row lies in `0..<header.count`, here and below.
  func read(_ row: Int, into sample: StoredSample) throws(ShardError)
  /// The name that the image was packed under.
  func key(of row: Int) throws(ShardError) -> String
  /// Its class; -1 for none.
  func label(of row: Int) throws(ShardError) -> Int32
}

/// What opening a layout needs: the file, and sentences about what is wrong with it.
struct ShardFile {
  let path: String
  let root: HDF5Group
  /// False: the file is known to be damaged. What only the library's heap code can read, which
  /// crashes at damage, is left out.
  let isTrusted: Bool

  init(path: String, isTrusted: Bool = true) throws(ShardError) {
    self.path = path
    self.isTrusted = isTrusted
    root = try storing { () throws(HDF5Error) in try HDF5File(path: path, .readOnly).root }
  }

  func has(_ name: String) throws(ShardError) -> Bool {
    try storing { () throws(HDF5Error) in try root.exists(name) }
  }

  /// The keys of all samples.
  func keys(count: Int) throws(ShardError) -> TextReader {
    let keys = try dataset(ShardFormat.keys)
    guard keys.shape == [count] else {
      throw .wrongShape(
        path: path, dataset: ShardFormat.keys, found: keys.shape, expected: "[\(count)]")
    }
    return try TextReader(keys, self)
  }

  /// The file, and where a dataset of bytes begins in it.
  ///
  /// - Returns: Nil where the elements do not lie one behind the other.
  func directAccess(
    to dataset: HDF5Dataset
  ) throws(ShardError) -> (file: RandomAccessFile, start: Int)? {
    let offset = try storing { () throws(HDF5Error) in try dataset.fileOffset }
    guard let offset else { return nil }
    return try handling { () throws(FileError) in (try RandomAccessFile(path: path), offset) }
  }

  /// A dataset that has to be there.
  func dataset(_ name: String) throws(ShardError) -> HDF5Dataset {
    guard try has(name) else {
      throw .notAShard(path: path, missing: "dataset '\(name)'")
    }
    return try storing { () throws(HDF5Error) in try root.dataset(name) }
  }

  /// A dataset of bytes, with a shape that `isValid`.
  func bytes(
    _ name: String, shape expected: String, _ isValid: ([Int]) -> Bool
  ) throws(ShardError) -> HDF5Dataset {
    let dataset = try dataset(name)
    guard dataset.elementType == .uint8 else {
      let found = dataset.elementType?.rawValue ?? "no numbers"
      throw .wrongType(path: path, dataset: name, found: found, expected: "uint8")
    }
    guard isValid(dataset.shape) else {
      throw .wrongShape(path: path, dataset: name, found: dataset.shape, expected: expected)
    }
    return dataset
  }

  /// The shape of raw images.
  ///
  /// - Throws: Where it is larger than any image that is decoded: a damaged file must not ask for
  ///   any amount of memory.
  func imageShape(
    height: Int, width: Int, channels: Int, dataset: String
  ) throws(ShardError) -> ImageShape {
    let (pixels, overflow) = height.multipliedReportingOverflow(by: width)
    let (size, tooManyBytes) = pixels.multipliedReportingOverflow(by: channels)
    guard !overflow, !tooManyBytes, size <= StoredSample.largest else {
      throw .wrongShape(
        path: path, dataset: dataset, found: [height, width, channels],
        expected: "images of at most \(StoredSample.largest) bytes")
    }
    return ImageShape(height: height, width: width, channels: channels)
  }

  /// A dataset of whole numbers, one a sample; a second dimension of one is passed over.
  ///
  /// - Parameter allowsFewer: The last samples may have none.
  func integers(
    _ name: String, count: Int, allowsFewer: Bool = false
  ) throws(ShardError) -> HDF5Dataset {
    let dataset = try dataset(name)
    guard let type = dataset.elementType, ![.float32, .float64].contains(type) else {
      let found = dataset.elementType?.rawValue ?? "no numbers"
      throw .wrongType(path: path, dataset: name, found: found, expected: "whole numbers")
    }
    let shape = dataset.shape
    guard shape.count == 1 || (shape.count == 2 && shape[1] == 1),
      shape[0] == count || (allowsFewer && shape[0] < count)
    else {
      throw .wrongShape(path: path, dataset: name, found: dataset.shape, expected: "[\(count)]")
    }
    return dataset
  }

  /// Attributes that our own shards have; empty in a file that is not trusted.
  func ownAttributes() throws(ShardError) -> (classNames: [String], source: String) {
    for name in [ShardFormat.formatVersion, ShardFormat.classNames, ShardFormat.source] {
      guard try storing({ () throws(HDF5Error) in try root.hasAttribute(name) }) else {
        throw .notAShard(path: path, missing: "attribute '\(name)'")
      }
    }
    let version = try storing { () throws(HDF5Error) in
      try root.integerAttribute(ShardFormat.formatVersion)
    }
    guard version == ShardFormat.version else { throw .formatVersion(path: path, found: version) }
    guard isTrusted else { return ([], "") }
    return try storing { () throws(HDF5Error) in
      (
        try root.stringsAttribute(ShardFormat.classNames),
        try root.stringAttribute(ShardFormat.source)
      )
    }
  }

  /// Whether the file was written with a hash in its user block.
  var isSealed: Bool {
    get throws(ShardError) {
      try storing { () throws(HDF5Error) in try root.hasAttribute(ShardFormat.packing) }
    }
  }

  /// What the packer left behind beside the samples; nothing in older shards.
  func packing() throws(ShardError) -> (options: String, skipped: [String]) {
    try storing { () throws(HDF5Error) in
      let options =
        try root.hasAttribute(ShardFormat.packing)
        ? try root.stringAttribute(ShardFormat.packing) : ""
      let skipped =
        try root.exists(ShardFormat.skipped)
        ? try root.dataset(ShardFormat.skipped).readStrings() : []
      return (options, skipped)
    }
  }
}

extension RandomAccessFile {
  /// Reads all of a sample.
  func read(
    _ offset: Int, of row: Int, path: String, into buffer: UnsafeMutableRawBufferPointer
  ) throws(ShardError) {
    let count = try handling { () throws(FileError) in try read(at: offset, into: buffer) }
    guard count == buffer.count else {
      throw .damaged(path: path, row: row, key: "", reason: "the file ends before the sample does")
    }
  }
}

/// Labels of a file, checked when they are read.
struct LabelReader {
  private let path: String
  private let blocks: BlockReader<Int32>
  private let classCount: Int
  private let allowsUnlabelled: Bool

  /// Of files without class names: a damaged label must not stand for billions of classes.
  private static let mostClasses = 1 << 20

  /// - Parameters:
  ///   - classCount: 0: any number that is not negative and below a million.
  ///   - allowsUnlabelled: -1 is no mistake, nor are rows behind the last label.
  init(_ dataset: HDF5Dataset, path: String, classCount: Int, allowsUnlabelled: Bool = false) {
    self.path = path
    blocks = BlockReader(dataset)
    self.classCount = classCount
    self.allowsUnlabelled = allowsUnlabelled
  }

  func label(of row: Int) throws(ShardError) -> Int32 {
    if allowsUnlabelled, row >= blocks.count { return -1 }
    let label = try reading(path: path, row: row) { () throws(HDF5Error) in
      try blocks.element(at: row)
    }
    let isKnown =
      label >= 0 && Int(label) < (classCount == 0 ? LabelReader.mostClasses : classCount)
    guard isKnown || (allowsUnlabelled && label == -1) else {
      throw .labelOutOfRange(path: path, row: row, label: Int(label), classCount: classCount)
    }
    return label
  }
}

/// Runs calls on HDF5 that read a sample: what the system does not let pass is damage.
func reading<Result>(
  path: String, row: Int, _ body: () throws(HDF5Error) -> Result
) throws(ShardError) -> Result {
  do throws(HDF5Error) {
    return try body()
  } catch {
    if error.isSystemFailure { throw .storage(error) }
    throw .damaged(path: path, row: row, key: "", reason: error.description)
  }
}
