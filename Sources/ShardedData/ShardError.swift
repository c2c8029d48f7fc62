public import Files
public import HDF5
public import PNGCodec
public import ZlibCodec

/// What can be wrong with the data of a run or with the files it is packed from.
public enum ShardError: Error, Sendable, CustomStringConvertible {
  /// There is no file or folder of that name.
  case missing(path: String)
  /// A folder without a single `.h5` file, or an empty list of shards.
  case noShards(path: String)
  /// A file that lacks a dataset or an attribute of a shard, or is no HDF5 file at all.
  case notAShard(path: String, missing: String)
  case formatVersion(path: String, found: Int)
  case wrongShape(path: String, dataset: String, found: [Int], expected: String)
  case wrongType(path: String, dataset: String, found: String, expected: String)
  case labelOutOfRange(path: String, row: Int, label: Int, classCount: Int)
  case noSamples(path: String)
  /// A set of shards `NAME-*-of-*.h5` of which some are not there.
  case incompleteSet(path: String, name: String, found: Int, expected: Int)
  /// Two shards of one data set that do not belong together.
  case disagreement(path: String, found: String, other: String, expected: String, what: String)
  /// Rows that cannot be read back: their checksum is wrong or the file is cut off.
  case damaged(path: String, rows: Range<Int>, underlying: HDF5Error)
  /// Views that normalize another number of channels than the images have.
  case channelCount(path: String, images: Int, view: Int)
  /// A source to be packed that is not what it should be.
  case badSource(path: String, reason: String)
  /// The folder has shards of that name, which a new packing would mix with its own.
  case alreadyPacked(path: String, name: String)
  /// The system refused a thread for the loader.
  case noThread(code: Int32)
  case storage(HDF5Error)
  case file(FileError)
  case gzip(GzipError)
  case png(PNGError)

  public var description: String {
    switch self {
    case .missing(let path):
      return "There is no data at \(path); give a shard or a folder of shards (*.h5)."
    case .noShards(let path):
      return "The folder \(path) holds no shards (*.h5); make some with `data pack`."
    case .notAShard(let path, let missing):
      return "\(path) is not a data shard: it has no \(missing)."
    case .formatVersion(let path, let found):
      return "\(path) is a data shard of format \(found), but this program reads format "
        + "\(ShardFormat.version); pack the data again."
    case .wrongShape(let path, let dataset, let found, let expected):
      return "The dataset '\(dataset)' of \(path) has the shape \(found) where \(expected) is "
        + "expected."
    case .wrongType(let path, let dataset, let found, let expected):
      return "The dataset '\(dataset)' of \(path) holds \(found) where \(expected) is expected."
    case .labelOutOfRange(let path, let row, let label, let classCount):
      return "Sample \(row) of \(path) has the label \(label), but there are \(classCount) classes."
    case .noSamples(let path):
      return "\(path) holds no samples."
    case .incompleteSet(let path, let name, let found, let expected):
      return "The folder \(path) holds \(found) of the \(expected) shards named \(name)-*.h5; copy "
        + "the missing ones or pack the data again."
    case .disagreement(let path, let found, let other, let expected, let what):
      return "The shards do not belong together: \(what) of \(path): \(found), but of \(other): "
        + "\(expected)."
    case .damaged(let path, let rows, let underlying):
      return "Samples \(rows.lowerBound) to \(rows.upperBound - 1) of the shard \(path) cannot be "
        + "read, the file is damaged and has to be packed again: \(underlying)"
    case .channelCount(let path, let images, let view):
      return "The images of \(path) have \(images) channel(s), but a view normalizes \(view); give "
        + "a mean and a standard deviation for each channel."
    case .badSource(let path, let reason):
      return "Cannot pack \(path): \(reason)."
    case .alreadyPacked(let path, let name):
      return "The folder \(path) already holds shards named \(name)-*.h5; remove them or choose "
        + "another name or folder."
    case .noThread(let code):
      return "The system refused a thread for the data loader (error \(code)); allow more threads."
    case .storage(let error): return error.description
    case .file(let error): return error.description
    case .gzip(let error): return error.description
    case .png(let error): return error.description
    }
  }
}
