import Foundation
import Models
import ShardedData

/// What `cae-dist tokenizer inspect` says.
public enum TokenizerSummary: Encodable, Sendable {
  /// Of a k-means codebook.
  public struct Codebook: Encodable, Sendable {
    public let kind = "k-means"
    public let vocabularySize: Int
    /// Of the images whose patches are coded; nil: a teacher's features are.
    public let grid: Int?
    public let patchSize: Int?
    /// Values of a code.
    public let width: Int
    public let usedCodes: Int
    /// Share of the commonest token: what a guess that ignores the image gets right.
    public let largestShare: Double
    /// `exp(entropy)` of the shares.
    public let perplexity: Double
  }

  /// Of the encoder of the DALL-E dVAE.
  public struct Encoder: Encodable, Sendable {
    public let kind = "dalle-encoder"
    public let vocabularySize: Int
    public let hiddenWidth: Int
    public let groups: Int
    public let blocksPerGroup: Int
    /// Pixels along a side for each token.
    public let reduction: Int
    public let parameters: Int
  }

  /// Of a folder of precomputed tokens, or of one such file.
  public struct Tokens: Encodable, Sendable {
    public let kind = "tokens"
    public let images: Int
    /// Pictures of each image.
    public let views: Int
    public let grid: Int
    public let vocabularySize: Int
    public let usedCodes: Int
    public let largestShare: Double
    public let perplexity: Double
    public let settings: String
    public let tokenizer: String
    public let shards: Int
    public let missingShards: Int
  }

  /// Of precomputed features.
  public struct Features: Encodable, Sendable {
    public let kind = "features"
    public let images: Int
    /// Pictures of each image.
    public let views: Int
    public let grid: Int
    public let width: Int
    public let settings: String
    public let teacher: String
    public let shards: Int
    public let missingShards: Int
  }

  case codebook(Codebook)
  case encoder(Encoder)
  case tokens(Tokens)
  case features(Features)

  /// - Throws: Also for targets that are damaged, or do not belong together.
  public init(path: String) throws {
    if try TargetStatistics.canRead(path) {
      let targets = try TargetStatistics(path: path)
      self =
        switch targets.description.content {
        case .tokens(let vocabularySize):
          .tokens(Tokens(targets, vocabularySize: vocabularySize))
        case .features(let width): .features(Features(targets, width: width))
        }
      return
    }
    switch try TokenizerFile.contents(of: path) {
    case .kMeans(let codes):
      self = .codebook(
        Codebook(
          vocabularySize: codes.codebook.count, grid: codes.patches?.grid,
          patchSize: codes.patches?.patchSize, width: codes.codebook.width,
          usedCodes: codes.shares.count { $0 > 0 },
          largestShare: Double(codes.shares.max() ?? 0),
          perplexity: TokenizerFit.perplexity(codes.shares.map(Double.init))))
    case .dalle(let encoder):
      self = .encoder(
        Encoder(
          vocabularySize: encoder.vocabularySize, hiddenWidth: encoder.hiddenWidth,
          groups: encoder.groupCount, blocksPerGroup: encoder.blocksPerGroup,
          reduction: encoder.reduction, parameters: encoder.parameterCount))
    }
  }

  public func encode(to encoder: any Swift.Encoder) throws {
    switch self {
    case .codebook(let summary): try summary.encode(to: encoder)
    case .encoder(let summary): try summary.encode(to: encoder)
    case .tokens(let summary): try summary.encode(to: encoder)
    case .features(let summary): try summary.encode(to: encoder)
    }
  }

  public var text: String {
    switch self {
    case .codebook(let summary):
      "\(summary.vocabularySize) codes for \(summary.what); \(summary.usedCodes) used, perplexity "
        + String(format: "%.1f, commonest token %.4f", summary.perplexity, summary.largestShare)
    case .encoder(let summary):
      "DALL-E encoder: \(summary.vocabularySize) tokens, one for \(summary.reduction) x "
        + "\(summary.reduction) pixels; n_hid \(summary.hiddenWidth), \(summary.groups) groups of "
        + "\(summary.blocksPerGroup) blocks, \(summary.parameters) parameters"
    case .tokens(let summary): summary.text
    case .features(let summary): summary.text
    }
  }
}

extension TokenizerSummary.Codebook {
  /// What the codes are of.
  fileprivate var what: String {
    guard let grid, let patchSize else { return "features of \(width) values" }
    return "\(grid) x \(grid) patches of \(patchSize) pixels"
  }
}

extension TokenizerSummary.Features {
  init(_ targets: TargetStatistics, width: Int) {
    let description = targets.description
    (images, views, grid) = (targets.images, description.views, description.grid)
    (self.width, settings, teacher) = (width, description.settings, description.source)
    (shards, missingShards) = (targets.shards, targets.missingShards)
  }

  var text: String {
    """
    \(images) images x \(views) pictures of 1 + \(grid) x \(grid) features of \(width) values in \
    \(counted(shards, missingShards))
    teacher: \(teacher)
    settings: \(settings)
    """
  }
}

private func counted(_ shards: Int, _ missing: Int) -> String {
  DataPacking.counted(shards, "shard")
    + (missing > 0 ? ", \(missing) more not encoded yet" : "")
}

extension TokenizerSummary.Tokens {
  init(_ targets: TargetStatistics, vocabularySize: Int) {
    let total = Double(targets.counts.reduce(0, +))
    let shares = targets.counts.map { Double($0) / total }
    let description = targets.description
    (images, views, grid) = (targets.images, description.views, description.grid)
    self.vocabularySize = vocabularySize
    usedCodes = targets.counts.count { $0 > 0 }
    largestShare = shares.max() ?? 0
    perplexity = TokenizerFit.perplexity(shares)
    (settings, tokenizer) = (description.settings, description.source)
    (shards, missingShards) = (targets.shards, targets.missingShards)
  }

  var text: String {
    """
    \(images) images x \(views) pictures of \(grid) x \(grid) tokens in \
    \(counted(shards, missingShards))
    \(vocabularySize) codes; \(usedCodes) used, perplexity \
    \(String(format: "%.1f, commonest token %.4f", perplexity, largestShare))
    tokenizer: \(tokenizer)
    settings: \(settings)
    """
  }
}
