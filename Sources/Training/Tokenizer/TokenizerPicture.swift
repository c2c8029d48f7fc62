import Interfaces
import Models
public import ShardedData
import TensorCore

/// What `cae-dist tokenizer inspect --picture` draws.
public enum TokenizerPicture {
  public struct Options: Sendable {
    /// File of the DALL-E decoder.
    public var decoder: String?
    /// Shards and folders of them; none: the codes are drawn.
    public var images: [String]

    public init(decoder: String? = nil, images: [String] = []) {
      (self.decoder, self.images) = (decoder, images)
    }
  }

  /// Codes that are drawn of a codebook, the commonest ones.
  static let largestCodebook = 4096
  /// Images that are drawn with their reconstructions.
  static let imageCount = 8
  /// A patch is enlarged to about as many pixels.
  private static let patchSide = 16
  /// Tokens along a side of an image: those of a model of 224 pixels.
  private static let grid = 14
  /// Of the published evaluation: the shorter side is resized to the crop's divided by this.
  private static let cropShare = 0.875
  private static let gap = 1

  /// The picture of a tokenizer's file.
  ///
  /// - Throws: `ConfigurationError` where the options are not those of this kind of tokenizer.
  public static func draw(_ path: String, _ options: Options) throws -> Picture {
    guard try !TargetStatistics.canRead(path) else {
      throw ConfigurationError(
        "--picture",
        "\(path) holds precomputed targets; give the file of a tokenizer to see its codes")
    }
    switch try TokenizerFile.contents(of: path) {
    case .kMeans(let codes):
      guard options.decoder == nil else {
        throw ConfigurationError(
          "--decoder",
          "\(path) is a k-means tokenizer, whose codes are drawn without one; leave it out")
      }
      guard let patches = codes.patches else {
        throw ConfigurationError(
          "--picture", "\(path) codes a teacher's features, which cannot be drawn")
      }
      return try codebook(codes.codebook, of: patches, shares: codes.shares)
    case .dalle(let encoder):
      guard let file = options.decoder else {
        throw ConfigurationError(
          "--decoder",
          "the codes of the DALL-E encoder \(path) are seen through its decoder; name that file")
      }
      let decoder = try TokenizerFile.decoder(file, of: encoder)
      let pool = ThreadPool(
        threadCount: ThreadCount.resolve("auto", cores: RankLayout.coresOfProcess))
      guard !options.images.isEmpty else { return codes(of: decoder, pool: pool) }
      let tokenizer = DALLETokenizer(encoder, grid: grid)
      let images = try load(options.images, for: tokenizer.view)
      return reconstructions(
        of: images, view: tokenizer.view, tokens: tokenizer.tokens(for: images, pool: pool),
        decoder, grid: grid, pool: pool)
    }
  }

  /// The patch of each code, in order of falling share: a standardized value v is drawn as
  /// `128 + 48 v`. At most `largestCodebook` codes.
  ///
  /// - Throws: Where patches have neither one channel nor three.
  static func codebook(
    _ codebook: Codebook, of patches: StandardizedPatches, shares: [Float]
  ) throws -> Picture {
    let (size, channels) = (patches.patchSize, patches.view.mean.count)
    guard [1, 3].contains(channels) else {
      throw ConfigurationError(
        "--picture", "patches of \(channels) channels cannot be drawn, only those of 1 or 3")
    }
    let order = shares.indices.sorted {
      shares[$0] == shares[$1] ? $0 < $1 : shares[$0] > shares[$1]
    }.prefix(largestCodebook)
    let factor = max(1, Int((Double(patchSide) / Double(size)).rounded()))
    var picture = Picture(
      cells: order.count, columns: Picture.squareColumns(order.count), side: factor * size,
      gap: gap, isGray: channels == 1)
    for (cell, code) in order.enumerated() {
      let patch = codebook.vectors.pointer + code * codebook.width
      picture.draw(cell: cell) { x, y, channel in
        Picture.byte(128 + 48 * patch[(channel * size + y / factor) * size + x / factor])
      }
    }
    return picture
  }

  /// What the decoder makes of each code alone, in their order.
  static func codes(of decoder: DALLEDecoder, pool: ThreadPool) -> Picture {
    let codes = (0..<decoder.vocabularySize).map { Int32($0) }
    let images = decoder.images(of: codes, grid: 1, pool: pool)
    var picture = Picture(
      cells: codes.count, columns: Picture.squareColumns(codes.count), side: decoder.reduction,
      gap: gap, isGray: false)
    for cell in codes.indices {
      draw(images, cell, in: &picture, cell: cell) { value, _ in value }
    }
    return picture
  }

  /// A row of images `[B, 3, S, S]` made by `view`, and below it what the decoder makes of their
  /// tokens.
  static func reconstructions(
    of images: Tensor, view: ViewSpecification, tokens: [Int32], _ decoder: DALLEDecoder,
    grid: Int, pool: ThreadPool
  ) -> Picture {
    let count = images.shape[0]
    let decoded = decoder.images(of: tokens, grid: grid, pool: pool)
    var picture = Picture(
      cells: 2 * count, columns: count, side: view.size, gap: gap, isGray: false)
    for image in 0..<count {
      draw(images, image, in: &picture, cell: image) { value, channel in
        value * view.standardDeviation[channel] + view.mean[channel]
      }
      draw(decoded, image, in: &picture, cell: count + image) { value, _ in value }
    }
    return picture
  }

  /// Draws an image of `[B, channels, S, S]`.
  ///
  /// - Parameter brightness: In [0, 1], of a value of a channel.
  private static func draw(
    _ images: Tensor, _ image: Int, in picture: inout Picture, cell: Int,
    brightness: (Float, Int) -> Float
  ) {
    let (channels, size) = (images.shape[1], images.shape[3])
    let start = images.pointer + image * channels * size * size
    withExtendedLifetime(images) {
      picture.draw(cell: cell) { x, y, channel in
        Picture.byte(255 * brightness(start[(channel * size + y) * size + x], channel))
      }
    }
  }

  /// Images that are spread evenly over shards, as they are evaluated.
  private static func load(_ paths: [String], for view: ViewSpecification) throws -> Tensor {
    let index = try ShardIndex(paths: paths)
    let channels = index.imageShape?.channels ?? view.mean.count
    guard channels == view.mean.count else {
      throw ConfigurationError(
        "--images",
        "\(paths.joined(separator: ", ")) has images of \(channels) channels, the tokenizer is for "
          + "\(view.mean.count)")
    }
    let keys = index.spread(imageCount).map { SampleKey(epoch: 0, sample: $0) }
    var options = LoaderOptions(seed: 0)
    // A few images are read: never the whole of a small data set.
    options.memoryBudget = 0
    let loader = try BatchLoader(
      index: index, transform: .evaluation([view], cropShare: cropShare), options: options
    ) { $0 == 0 ? keys : nil }
    defer { loader.stop() }
    guard let batch = try loader.next() else { throw ShardError.noSamples(path: paths[0]) }
    return batch.views[0]
  }
}
