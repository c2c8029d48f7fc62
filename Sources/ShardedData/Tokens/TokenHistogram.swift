import Files
import HDF5

/// How often each token occurs in files that `TokenShardWriter` made.
public struct TokenHistogram: Sendable {
  public let description: TokenDescription
  /// Of each token of the vocabulary, over all pictures of all images.
  public let counts: [Int]
  public let images: Int
  public let shards: Int
  /// Shards of the same sets, by their names, that have no tokens yet.
  public let missingShards: Int

  /// Whether a path is a folder, or a file of tokens.
  public static func canRead(_ path: String) throws(ShardError) -> Bool {
    if Files.isDirectory(path) { return true }
    guard HDF5File.isHDF5(path) else { return false }
    return try TokenShardReader.isTokens(try ShardFile(path: path).root)
  }

  /// Reads all tokens.
  ///
  /// - Parameter path: A folder of token files, or one file.
  /// - Throws: `ShardError` for what is no token file, is damaged, or does not belong to the others.
  /// - Complexity: Time of all tokens; memory of the vocabulary and of a block of tokens.
  public init(path: String) throws(ShardError) {
    let files = try TokenHistogram.files(of: path)
    var first: TokenShardReader?
    var counts: [Int] = []
    var images = 0
    for file in files {
      let reader = try TokenShardReader(path: file)
      if let first,
        let (what, found, expected) = reader.description.difference(from: first.description)
      {
        throw .disagreement(
          path: file, found: found, other: first.path, expected: expected, what: "the \(what)")
      }
      if first == nil {
        first = reader
        counts = [Int](repeating: 0, count: reader.description.vocabularySize)
      }
      try reader.count(into: &counts)
      images += reader.images
    }
    guard let first, images > 0 else {
      throw .badTokens(
        path: path, reason: "there are none in it; cae-dist tokenizer encode makes them")
    }
    description = first.description
    (self.counts, self.images, shards) = (counts, images, files.count)
    missingShards = TokenHistogram.missing(from: files)
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
