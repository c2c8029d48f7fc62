import Files

/// The samples of a data set over its shards, numbered from 0 in the order of the shards.
public struct ShardIndex: Sendable {
  public let shards: [ShardHeader]
  /// Labels of all samples.
  public let labels: [Int32]
  /// The first sample of each shard, and at the end the number of all.
  private let starts: [Int]

  /// Reads the headers and labels of all shards and checks that they belong together.
  ///
  /// - Parameter paths: Shards, and folders that stand for all `*.h5` in them in name order.
  /// - Throws: `ShardError` for what is missing, not a shard, or of another shape or other
  ///   classes than the first shard.
  public init(paths: [String]) throws(ShardError) {
    var files: [String] = []
    for path in paths { files += try ShardIndex.files(of: path) }
    var shards: [ShardHeader] = []
    var labels: [Int32] = []
    var starts = [0]
    for file in files {
      let reader = ShardReader(path: file)
      let header = try reader.header()
      if let first = shards.first { try ShardIndex.compare(header, first) }
      shards.append(header)
      labels += try reader.labels()
      starts.append(labels.count)
    }
    guard !shards.isEmpty else { throw .noShards(path: paths.joined(separator: ", ")) }
    self.shards = shards
    self.labels = labels
    self.starts = starts
  }

  /// Number of samples.
  public var count: Int { labels.count }

  public var imageShape: ImageShape { shards[0].imageShape }

  public var classNames: [String] { shards[0].classNames }

  /// Size of all images in memory.
  public var imageBytes: Int { count * imageShape.byteCount }

  /// Where a sample is stored.
  ///
  /// - Complexity: O(log shards).
  public func location(of sample: Int) -> (shard: Int, row: Int) {
    precondition(sample >= 0 && sample < count, "sample \(sample) of \(count)")
    var (low, high) = (0, shards.count - 1)
    while low < high {
      let middle = (low + high + 1) / 2
      if starts[middle] <= sample { low = middle } else { high = middle - 1 }
    }
    return (low, sample - starts[low])
  }

  /// The number of the first sample of a shard.
  func start(ofShard shard: Int) -> Int { starts[shard] }

  private static func files(of path: String) throws(ShardError) -> [String] {
    guard Files.isDirectory(path) else { return [path] }
    let names = try handling { () throws(FileError) in try Files.list(path) }.filter {
      $0.hasSuffix(ShardFormat.fileExtension)
    }
    if names.isEmpty { throw .noShards(path: path) }
    var found: [String: Int] = [:]
    for set in names.compactMap({ ShardFormat.set(ofFileName: $0) }) {
      found["\(set.name)/\(set.total)", default: 0] += 1
    }
    // A set with a part missing would train on less than it says without a word.
    for set in names.compactMap({ ShardFormat.set(ofFileName: $0) }) {
      let count = found["\(set.name)/\(set.total)"] ?? 0
      guard count == set.total else {
        throw .incompleteSet(path: path, name: set.name, found: count, expected: set.total)
      }
    }
    return names.map { "\(path)/\($0)" }
  }

  private static func compare(_ header: ShardHeader, _ first: ShardHeader) throws(ShardError) {
    guard header.imageShape == first.imageShape else {
      throw .disagreement(
        path: header.path, found: header.imageShape.description, other: first.path,
        expected: first.imageShape.description, what: "the image shape")
    }
    guard header.classNames == first.classNames else {
      throw .disagreement(
        path: header.path, found: header.classNames.joined(separator: ", "), other: first.path,
        expected: first.classNames.joined(separator: ", "), what: "the class names")
    }
  }
}
