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
  /// A file that has none of the layouts that are looked for.
  case unknownLayout(path: String, members: [String])
  /// A sample that is not what was written: its checksum is wrong, the file is cut off, or its
  /// image cannot be decoded. `key` is empty where it is not known.
  case damaged(path: String, row: Int, key: String, reason: String)
  /// A shard that is another one than when the run began.
  case changed(path: String)
  /// The system did not let the file be read, however often it was tried.
  case unreachable(path: String, attempts: Int, reason: String)
  /// Views that normalize another number of channels than the images have.
  case channelCount(path: String, images: Int, view: Int)
  /// RandAugment is for images of 1 or 3 channels.
  case randAugmentChannels(path: String, images: Int)
  /// A source to be packed that is not what it should be.
  case badSource(path: String, reason: String)
  /// The folder has shards of that name, which a new packing would mix with its own.
  case alreadyPacked(path: String, name: String, found: String, expected: String)
  /// A file or folder that should hold targets, but is something else or damaged.
  case badTargets(path: String, reason: String)
  /// A data shard whose targets were not computed.
  case noTargets(path: String, shard: String)
  /// Targets of other pictures than the run makes.
  case staleTargets(path: String, shard: String, what: String, found: String, expected: String)
  /// The system refused a thread for the loader.
  case noThread(code: Int32)
  case storage(HDF5Error)
  case file(FileError)
  case gzip(GzipError)
  case png(PNGError)

  /// The system failed, not the data.
  public var isInputOutput: Bool {
    switch self {
    case .unreachable: true
    case .storage(let error): error.isSystemFailure
    case .file(let error): !error.isMissing
    case .png(let error): error.operation == .write
    default: false
    }
  }

  /// Another try may go through: the system failed, not the data.
  var isTransient: Bool {
    switch self {
    case .storage(let error): error.isSystemFailure
    case .file, .missing: true
    default: false
    }
  }

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
    case .unknownLayout(let path, let members):
      let shown = members.prefix(8).joined(separator: ", ") + (members.count > 8 ? ", ..." : "")
      return
        "\(path) is no data shard of a known layout: it has \(members.isEmpty ? "nothing" : shown), "
        + "where one of these is looked for: \(ShardLayout.lookedFor); pack the images with "
        + "cae-dist data pack."
    case .damaged(let path, let row, let key, let reason):
      return "Sample \(row)\(key.isEmpty ? "" : " (\(key))") of \(path) is damaged: \(reason); "
        + "cae-dist data verify finds all such samples, pack the data again."
    case .changed(let path):
      return
        "\(path) has changed since the run began; leave data sets alone while a run reads them, "
        + "and start it again."
    case .unreachable(let path, let attempts, let reason):
      return "\(path) could not be read in \(attempts) attempts: \(reason)"
    case .channelCount(let path, let images, let view):
      return "The images of \(path) have \(images) channel(s), but a view normalizes \(view); give "
        + "a mean and a standard deviation for each channel."
    case .randAugmentChannels(let path, let images):
      return
        "The images of \(path) have \(images) channels, but RandAugment is for images of 1 or 3; "
        + "turn it off."
    case .badSource(let path, let reason):
      return "Cannot pack \(path): \(reason)\(reason.hasSuffix(".") ? "" : ".")"
    case .alreadyPacked(let path, let name, let found, let expected):
      return "The folder \(path) already holds shards named \(name)-*.h5 of another packing "
        + "(\(found), not \(expected)); remove them or choose another name or folder."
    case .badTargets(let path, let reason):
      return "Cannot read the targets in \(path): \(reason)."
    case .noTargets(let path, let shard):
      return "There are no targets of \(shard) at \(path); cae-dist tokenizer encode computes them."
    case .staleTargets(let path, let shard, let what, let found, let expected):
      return "The targets in \(path) are not those of this run's pictures of \(shard): its \(what) "
        + "is \(found), not \(expected); compute them again with cae-dist tokenizer encode into "
        + "another folder."
    case .noThread(let code):
      return "The system refused a thread for the data loader (error \(code)); allow more threads."
    case .storage(let error): return error.description
    case .file(let error): return error.description
    case .gzip(let error): return error.description
    case .png(let error): return error.description
    }
  }
}
