import Files

/// What the precomputed targets of a data set are: tokens, or features of a teacher.
public struct TargetDescription: Equatable, Sendable {
  /// What there is of a picture.
  public enum Content: Equatable, Sendable {
    /// A token of each patch, in raster order.
    case tokens(vocabularySize: Int)
    /// A feature of the whole picture, then those of the patches in raster order.
    case features(width: Int)
  }

  public var content: Content
  /// Patches along one side of an image.
  public var grid: Int
  /// Pictures of each image that epochs go round among.
  public var views: Int
  /// How those pictures are made, in words: equal settings have equal texts.
  public var settings: String
  /// Which tokenizer or teacher made them, for people.
  public var source: String
  /// Of the largest picture of an image that was made with that of tokenizer or teacher.
  public var pictureSize: Int

  public init(
    _ content: Content, grid: Int, views: Int, settings: String, source: String, pictureSize: Int
  ) {
    (self.content, self.grid, self.views) = (content, grid, views)
    (self.settings, self.source, self.pictureSize) = (settings, source, pictureSize)
  }

  /// Values of a picture: one a token; of features `[1 + grid * grid, width]`.
  public var valuesOfView: Int { extents.reduce(1, *) }

  /// Samples of a block of `TargetShardWriter`, but for the last one: at most 64, some 16 MiB.
  public var blockSamples: Int { max(1, min(64, (16 << 20) / bytesOfSample)) }

  /// Of a picture, in the file.
  var extents: [Int] {
    switch content {
    case .tokens: [grid * grid]
    case .features(let width): [1 + grid * grid, width]
    }
  }

  var bytesOfSample: Int {
    switch content {
    case .tokens: views * valuesOfView * MemoryLayout<UInt16>.stride
    case .features: views * valuesOfView * MemoryLayout<Float>.stride
    }
  }

  /// - Throws: Where no file has such sizes.
  public func requirePossible(path: String) throws(ShardError) {
    let extents = 1...TargetFormat.largestExtent
    let largest =
      switch content {
      case .tokens: TargetFormat.largestVocabulary
      case .features: TargetFormat.largestExtent
      }
    guard extents.contains(grid), extents.contains(views),
      (1...TargetFormat.largestPicture).contains(pictureSize),
      (1...largest).contains(content.size),
      Double(views) * Double(grid) * Double(grid)
        * (content.kind == "tokens" ? 1 : Double(content.size))
        <= Double(TargetFormat.largestSampleValues)
    else {
      throw .badTargets(
        path: path,
        reason: "\(views) views of \(grid) x \(grid) \(content.kind) with a \(content.sizeKind) of "
          + "\(content.size) cannot be")
    }
  }

  /// The first thing in which two descriptions differ, in words; nil where they are equal.
  func difference(
    from expected: TargetDescription
  ) -> (what: String, found: String, expected: String)? {
    [
      ("kind", content.kind, expected.content.kind), ("settings", settings, expected.settings),
      (content.sourceKind, source, expected.source), ("views", "\(views)", "\(expected.views)"),
      ("grid", "\(grid)", "\(expected.grid)"),
      (content.sizeKind, "\(content.size)", "\(expected.content.size)"),
      ("picture size", "\(pictureSize)", "\(expected.pictureSize)"),
    ].first { $0.1 != $0.2 }
  }
}

extension TargetDescription.Content {
  /// Name of the dataset, and value of the attribute `kind`.
  var kind: String {
    switch self {
    case .tokens: "tokens"
    case .features: "features"
    }
  }

  /// Name of the attribute that tells where they are from.
  var sourceKind: String {
    switch self {
    case .tokens: "tokenizer"
    case .features: "teacher"
    }
  }

  /// Name of the attribute of `size`.
  var sizeKind: String {
    switch self {
    case .tokens: "vocabularySize"
    case .features: "width"
    }
  }

  var size: Int {
    switch self {
    case .tokens(let vocabularySize): vocabularySize
    case .features(let width): width
    }
  }
}

/// The file format of precomputed targets, one file a data shard, of the same name in another folder:
/// - `tokens`: UInt16 `[N, views, grid x grid]`, raster order, chunked by images, fletcher32; or
/// - `features`: Float32 `[N, views, 1 + grid x grid, width]`, chunked by pictures, fletcher32;
/// - attributes of the root: `kind` ("tokens" or "features"), `formatVersion` (1), `grid`,
///   `vocabularySize` or `width`, `views`, `settings`, `tokenizer` or `teacher`, `pictureSize`, and
///   `shard`, by which the data shard is recognized.
enum TargetFormat {
  static let version = 1
  static let shard = "shard"
  static let largestPicture = 1 << 16
  /// A token has two bytes.
  static let largestVocabulary = 65_536
  /// More patches along a side, pictures of an image or values of a feature no file has.
  static let largestExtent = 1 << 16
  /// Nor more values of an image, about.
  static let largestSampleValues = 1 << 28

  /// Bytes of a chunk of tokens, about.
  private static let chunkBytes = 64 << 10

  static func chunk(_ description: TargetDescription, count: Int) -> [Int] {
    switch description.content {
    case .tokens:
      [min(count, max(1, chunkBytes / description.bytesOfSample)), description.views]
        + description.extents
    case .features: [1, 1] + description.extents
    }
  }

  /// Changes with any byte of a sealed shard; of others with their size.
  static func identity(of shard: ShardHeader) throws(ShardError) -> String {
    let seal = try ShardSeal.text(of: shard.path)
    let size = try handling { () throws(FileError) in try Files.size(of: shard.path) }
    return "\(shard.count) samples, \(seal ?? "\(size) bytes")"
  }

  /// The targets' file of a data shard.
  static func path(of shard: ShardHeader, in folder: String) -> String {
    "\(folder)/\(shard.path.split(separator: "/").last ?? "")"
  }

  /// Where its blocks are gathered until all are there.
  static func spoolPath(of shard: ShardHeader, in folder: String) -> String {
    "\(folder)/.\(shard.path.split(separator: "/").last ?? "").partial"
  }
}
