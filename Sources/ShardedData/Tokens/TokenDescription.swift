import Files

/// What the tokens of a data set are tokens of.
public struct TokenDescription: Equatable, Sendable {
  /// Tokens along one side of an image.
  public var grid: Int
  public var vocabularySize: Int
  /// Pictures of each image that epochs go round among.
  public var views: Int
  /// How those pictures are made, in words: equal settings have equal texts.
  public var settings: String
  /// Which tokenizer made the tokens, for people.
  public var tokenizer: String
  /// Of the largest picture of an image that was made with the tokenizer's.
  public var pictureSize: Int

  public init(
    grid: Int, vocabularySize: Int, views: Int, settings: String, tokenizer: String,
    pictureSize: Int
  ) {
    (self.grid, self.vocabularySize, self.views) = (grid, vocabularySize, views)
    (self.settings, self.tokenizer, self.pictureSize) = (settings, tokenizer, pictureSize)
  }

  /// Tokens of an image's picture.
  public var tokensOfView: Int { grid * grid }

  /// The first thing in which two descriptions differ, in words; nil where they are equal.
  func difference(
    from expected: TokenDescription
  ) -> (what: String, found: String, expected: String)? {
    [
      ("settings", settings, expected.settings), ("tokenizer", tokenizer, expected.tokenizer),
      ("views", "\(views)", "\(expected.views)"), ("grid", "\(grid)", "\(expected.grid)"),
      ("vocabulary", "\(vocabularySize)", "\(expected.vocabularySize)"),
      ("picture size", "\(pictureSize)", "\(expected.pictureSize)"),
    ].first { $0.1 != $0.2 }
  }
}

/// The file format of precomputed tokens, one file a data shard, of the same name in another folder:
/// - `tokens`: UInt16 `[N, views, grid x grid]`, raster order, chunked by images, fletcher32;
/// - attributes of the root: `kind` ("tokens"), `formatVersion` (1), `grid`, `vocabularySize`,
///   `views`, `settings`, `tokenizer`, `pictureSize`, and `shard`, by which the data shard is recognized.
enum TokenFormat {
  static let version = 1
  static let kind = "tokens"
  static let tokens = "tokens"
  static let shard = "shard"
  static let largestPicture = 1 << 16
  /// A token has two bytes.
  static let largestVocabulary = 65_536
  /// More tokens along a side, or more pictures of an image, no file has: their product is an `Int`.
  static let largestExtent = 1 << 20

  /// Bytes of a chunk, about.
  private static let chunkBytes = 64 << 10

  static func chunkRows(_ description: TokenDescription, count: Int) -> Int {
    min(count, max(1, chunkBytes / (2 * description.views * description.tokensOfView)))
  }

  /// Changes with any byte of a sealed shard; of others with their size.
  static func identity(of shard: ShardHeader) throws(ShardError) -> String {
    let seal = try ShardSeal.text(of: shard.path)
    let size = try handling { () throws(FileError) in try Files.size(of: shard.path) }
    return "\(shard.count) samples, \(seal ?? "\(size) bytes")"
  }

  /// The token file of a data shard.
  static func path(of shard: ShardHeader, in folder: String) -> String {
    "\(folder)/\(shard.path.split(separator: "/").last ?? "")"
  }
}
