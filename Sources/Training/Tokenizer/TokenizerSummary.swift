import Foundation
import Models
import ShardedData

/// What `cae-dist tokenizer inspect` says.
public enum TokenizerSummary: Encodable, Sendable {
  /// Of a k-means codebook.
  public struct Codebook: Encodable, Sendable {
    public let kind = "k-means"
    public let vocabularySize: Int
    public let grid: Int
    public let patchSize: Int
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

  case codebook(Codebook)
  case encoder(Encoder)
  case tokens(Tokens)

  /// - Throws: Also for tokens that are damaged, or do not belong together.
  public init(path: String) throws {
    if try TokenHistogram.canRead(path) {
      self = .tokens(Tokens(try TokenHistogram(path: path)))
      return
    }
    switch try TokenizerFile.contents(of: path) {
    case .kMeans(let tokenizer, let shares):
      self = .codebook(
        Codebook(
          vocabularySize: tokenizer.vocabularySize, grid: tokenizer.grid,
          patchSize: tokenizer.patchSize, usedCodes: shares.count { $0 > 0 },
          largestShare: Double(shares.max() ?? 0),
          perplexity: TokenizerFit.perplexity(shares.map(Double.init))))
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
    }
  }

  public var text: String {
    switch self {
    case .codebook(let summary):
      "\(summary.vocabularySize) codes for \(summary.grid) x \(summary.grid) patches of "
        + "\(summary.patchSize) pixels; \(summary.usedCodes) used, perplexity "
        + String(format: "%.1f, commonest token %.4f", summary.perplexity, summary.largestShare)
    case .encoder(let summary):
      "DALL-E encoder: \(summary.vocabularySize) tokens, one for \(summary.reduction) x "
        + "\(summary.reduction) pixels; n_hid \(summary.hiddenWidth), \(summary.groups) groups of "
        + "\(summary.blocksPerGroup) blocks, \(summary.parameters) parameters"
    case .tokens(let summary): summary.text
    }
  }
}

extension TokenizerSummary.Tokens {
  init(_ histogram: TokenHistogram) {
    let total = Double(histogram.counts.reduce(0, +))
    let shares = histogram.counts.map { Double($0) / total }
    let description = histogram.description
    (images, views, grid) = (histogram.images, description.views, description.grid)
    vocabularySize = description.vocabularySize
    usedCodes = histogram.counts.count { $0 > 0 }
    largestShare = shares.max() ?? 0
    perplexity = TokenizerFit.perplexity(shares)
    (settings, tokenizer) = (description.settings, description.tokenizer)
    (shards, missingShards) = (histogram.shards, histogram.missingShards)
  }

  var text: String {
    let missing = missingShards > 0 ? ", \(missingShards) more not encoded yet" : ""
    return """
      \(images) images x \(views) pictures of \(grid) x \(grid) tokens in \(shards) \
      shard\(shards == 1 ? "" : "s")\(missing)
      \(vocabularySize) codes; \(usedCodes) used, perplexity \
      \(String(format: "%.1f, commonest token %.4f", perplexity, largestShare))
      tokenizer: \(tokenizer)
      settings: \(settings)
      """
  }
}
