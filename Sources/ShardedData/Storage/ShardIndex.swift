import Files

/// The samples of a data set over its shards, numbered from 0 in the order of the shards.
///
/// Memory grows with the number of shards, never with that of samples.
public struct ShardIndex: Sendable {
  public let shards: [ShardHeader]
  /// The first sample of each shard, and at the end the number of all.
  private let starts: [Int]

  /// Raw images that take at most this many bytes are held in memory.
  public static let residentBytes = 512 << 20
  /// Samples that a shuffled reader takes from one place of a shard before it goes to another.
  private static let windowSamples = 256

  /// Reads the headers of all shards and checks that they belong together.
  ///
  /// - Parameter paths: Shards, and folders that stand for all `*.h5` in them in name order.
  /// - Throws: `ShardError` for what is missing, not a shard, or of another shape or other
  ///   classes than the first shard.
  public init(paths: [String]) throws(ShardError) {
    var shards: [ShardHeader] = []
    var starts = [0]
    for file in try ShardIndex.files(of: paths) {
      let header = try ShardReader(path: file).header()
      if let first = shards.first { try ShardIndex.compare(header, first) }
      shards.append(header)
      starts.append(starts[starts.count - 1] + header.count)
    }
    guard !shards.isEmpty else { throw .noShards(path: paths.joined(separator: ", ")) }
    self.shards = shards
    self.starts = starts
  }

  /// Number of samples.
  public var count: Int { starts[starts.count - 1] }

  /// Of all images; nil where each has its own.
  public var imageShape: ImageShape? { shards[0].imageShape }

  /// Empty where the files only number their classes.
  public var classNames: [String] { shards[0].classNames }

  public var layout: ShardLayout { shards[0].layout }

  /// Whether all images are held in memory.
  ///
  /// - Parameter budget: Bytes that they may take.
  public func isResident(budget: Int = ShardIndex.residentBytes) -> Bool {
    guard let size = imageShape?.byteCount else { return false }
    let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
    return !overflow && bytes <= budget
  }

  /// Samples that lie together and that a shuffled order should read together; 1 where the place
  /// does not matter, since all images are in memory. For `DistributedSampler`.
  ///
  /// - Parameter budget: Bytes that images in memory may take.
  public func windowSize(budget: Int = ShardIndex.residentBytes) -> Int {
    if isResident(budget: budget) { return 1 }
    let rows = shards[0].chunkRows
    return (ShardIndex.windowSamples + rows - 1) / rows * rows
  }

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

  /// The numbers of `count` samples that are spread evenly over the data set; of all where it has
  /// fewer.
  public func spread(_ count: Int) -> [Int] {
    let count = min(count, self.count)
    return (0..<count).map { self.count * $0 / count }
  }

  /// The number of the first sample of a shard.
  func start(ofShard shard: Int) -> Int { starts[shard] }

  /// The shard files that paths stand for, in order.
  public static func files(of paths: [String]) throws(ShardError) -> [String] {
    var files: [String] = []
    for path in paths { files += try ShardIndex.files(of: path) }
    return files
  }

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
    guard header.layout == first.layout else {
      throw .disagreement(
        path: header.path, found: header.layout.title, other: first.path,
        expected: first.layout.title, what: "the layout")
    }
    guard header.imageShape == first.imageShape else {
      throw .disagreement(
        path: header.path, found: header.imageShape?.description ?? "", other: first.path,
        expected: first.imageShape?.description ?? "", what: "the image shape")
    }
    guard header.classNames == first.classNames else {
      throw .disagreement(
        path: header.path, found: header.classNames.joined(separator: ", "), other: first.path,
        expected: first.classNames.joined(separator: ", "), what: "the class names")
    }
  }
}
