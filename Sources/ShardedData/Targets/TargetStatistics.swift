import Files
import HDF5

/// What is in files that `TargetShardWriter` made; of tokens also how often each occurs.
public struct TargetStatistics: Sendable {
  public let description: TargetDescription
  /// Of each token of the vocabulary, over all pictures of all images; none of features.
  public let counts: [Int]
  public let images: Int
  public let shards: Int
  /// Shards of the same sets, by their names, that have no targets yet.
  public let missingShards: Int

  /// Whether a path is a folder, or a file of targets.
  public static func canRead(_ path: String) throws(ShardError) -> Bool {
    if Files.isDirectory(path) { return true }
    guard HDF5File.isHDF5(path) else { return false }
    return try TargetShardReader.kind(of: try ShardFile(path: path).root) != nil
  }

  /// Reads everything.
  ///
  /// - Parameter path: A folder of such files, or one file.
  /// - Throws: `ShardError` for what is no such file, is damaged, or does not belong to the others.
  /// - Complexity: Time of all targets; memory of the vocabulary and of a block of them.
  public init(path: String) throws(ShardError) {
    let files = try TargetStatistics.files(of: path)
    var first: TargetShardReader?
    var counts: [Int] = []
    var images = 0
    for file in files {
      let reader = try TargetShardReader(path: file)
      if let first,
        let (what, found, expected) = reader.description.difference(from: first.description)
      {
        throw .disagreement(
          path: file, found: found, other: first.path, expected: expected, what: "the \(what)")
      }
      if first == nil {
        first = reader
        if case .tokens(let vocabularySize) = reader.description.content {
          counts = [Int](repeating: 0, count: vocabularySize)
        }
      }
      switch reader.description.content {
      case .tokens: try reader.count(into: &counts)
      case .features: try reader.checkFeatures()
      }
      images += reader.images
    }
    guard let first, images > 0 else {
      throw .badTargets(
        path: path, reason: "there are none in it; cae-dist tokenizer encode makes them")
    }
    description = first.description
    (self.counts, self.images, shards) = (counts, images, files.count)
    missingShards = TargetStatistics.missing(from: files)
  }

  private static func files(of path: String) throws(ShardError) -> [String] {
    guard Files.isDirectory(path) else { return [path] }
    return try handling { () throws(FileError) in try Files.list(path) }
      .filter { $0.hasSuffix(ShardFormat.fileExtension) }.map { "\(path)/\($0)" }
  }

  private static func missing(from files: [String]) -> Int {
    let sets = files.compactMap { file in
      ShardFormat.set(ofFileName: String(file.split(separator: "/").last ?? ""))
    }
    let totals = Dictionary(
      sets.map { ("\($0.name)/\($0.total)", $0.total) }, uniquingKeysWith: { first, _ in first })
    return max(0, totals.values.reduce(0, +) - sets.count)
  }
}
