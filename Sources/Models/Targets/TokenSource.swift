public import Interfaces
public import TensorCore

/// Where a method's target tokens come from.
public enum TokenSource: TargetSource {
  public static let kind = "tokens"

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

  public var view: ViewSpecification? {
    guard case .computed(let tokenizer) = self else { return nil }
    return tokenizer.view
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
