public import Interfaces
public import TensorCore

/// Where a method's target tokens come from.
public enum TokenSource: Sendable {
  /// From the tokenizer's picture of each crop.
  case computed(any DiscreteTokenizer)
  /// With every batch, computed beforehand.
  case stored(vocabularySize: Int, grid: Int)

  public var vocabularySize: Int {
    switch self {
    case .computed(let tokenizer): tokenizer.vocabularySize
    case .stored(let vocabularySize, _): vocabularySize
    }
  }

  /// Tokens along one side of the image.
  public var grid: Int {
    switch self {
    case .computed(let tokenizer): tokenizer.grid
    case .stored(_, let grid): grid
    }
  }

  /// - Parameter key: Of the configuration, that names what computes them.
  /// - Throws: Where there are not as many as the model has patches.
  public func require(grid patches: Int, key: String) throws(ConfigurationError) {
    guard grid != patches else { return }
    var key = key
    if case .stored = self { key = "data.targets" }
    throw ConfigurationError(
      key,
      "there are \(grid) x \(grid) tokens of an image, but the model has \(patches) x \(patches) "
        + "patches")
  }

  /// The pictures that a method asks the loader for: the encoder's, and after it the tokenizer's
  /// where that is another one.
  public func views(encoder: ViewSpecification) -> [ViewSpecification] {
    guard case .computed(let tokenizer) = self, tokenizer.view != encoder else { return [encoder] }
    return [encoder, tokenizer.view]
  }

  /// Tokens of a batch with those `views`, in raster order, `B x grid x grid`.
  public func tokens(for batch: Batch, pool: ThreadPool) -> [Int32] {
    switch self {
    case .computed(let tokenizer):
      return tokenizer.tokens(for: batch.views[batch.views.count - 1], pool: pool)
    case .stored(_, let grid):
      guard case .tokens(let tokens) = batch.targets, tokens.count == batch.count * grid * grid
      else {
        preconditionFailure(
          "no \(batch.count) x \(grid) x \(grid) stored tokens for \(batch.count) images")
      }
      return tokens
    }
  }
}
