public import Interfaces
public import TensorCore

/// Codes of vectors of the patches: the token of a patch is the nearest code.
public struct KMeansTokenizer: DiscreteTokenizer {
  public let codebook: Codebook
  public let vectors: any PatchVectors

  /// - Throws: Where codes and vectors do not have the same width.
  public init(_ codebook: Codebook, of vectors: any PatchVectors) throws(ConfigurationError) {
    guard codebook.width == vectors.width else {
      throw ConfigurationError(
        "method.tokenizer",
        "a codebook of \(codebook.width) values does not fit vectors of \(vectors.width)")
    }
    (self.codebook, self.vectors) = (codebook, vectors)
  }

  public var vocabularySize: Int { codebook.count }
  public var grid: Int { vectors.grid }
  public var view: ViewSpecification { vectors.view }

  public func tokens(for images: Tensor, pool: ThreadPool) -> [Int32] {
    codebook.nearest(to: vectors.vectors(of: images, pool: pool), pool: pool)
  }
}
