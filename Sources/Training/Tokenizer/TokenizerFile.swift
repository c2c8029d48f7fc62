public import Artifacts
public import Interfaces
public import Models
import TensorCore

/// The file of a k-means tokenizer: `/codebook` `[vocabulary, C p p]`, `/shares` `[vocabulary]`
/// and the view that its patches are cut from.
public enum TokenizerFile {
  private static let kind = "kmeans-tokenizer"

  public static func write(
    _ tokenizer: KMeansTokenizer, shares: [Double], to path: String
  ) throws(ArtifactError) {
    try ArtifactWriter.write(
      to: path,
      tensors: [
        ("codebook", tokenizer.codebook),
        ("shares", Tensor(shares.map(Float.init), shape: [shares.count])),
      ],
      attributes: [
        ("kind", .string(kind)), ("formatVersion", .integer(1)),
        ("patchSize", .integer(tokenizer.patchSize)), ("imageSize", .integer(tokenizer.view.size)),
        ("filter", .string(tokenizer.view.filter.rawValue)),
        ("mean", .floats(tokenizer.view.mean)),
        ("standardDeviation", .floats(tokenizer.view.standardDeviation)),
      ])
  }

  /// - Throws: Where the file is missing, damaged or for images of other channels; names the
  ///   command that makes one.
  public static func open(
    _ path: String, channels: Int
  ) throws(ConfigurationError) -> any DiscreteTokenizer {
    let key = "method.tokenizer"
    guard !path.isEmpty else {
      throw ConfigurationError(key, "names no file; make one with cae-dist tokenizer fit")
    }
    do {
      let (tokenizer, _) = try read(path)
      guard tokenizer.view.mean.count == channels else {
        throw ConfigurationError(
          key, "\(path) is for images of \(tokenizer.view.mean.count) channels, not \(channels)")
      }
      return tokenizer
    } catch let error as ConfigurationError {
      throw error
    } catch {
      throw ConfigurationError(key, "\(error); cae-dist tokenizer fit makes a new one")
    }
  }

  /// The tokenizer, and the share of each code among the patches that it was checked on.
  public static func read(_ path: String) throws -> (KMeansTokenizer, shares: [Float]) {
    let reader = try ArtifactReader(path: path)
    guard try reader.hasAttribute("kind"), try reader.string("kind") == kind else {
      throw ArtifactError(path: path, reason: "it is not a tokenizer")
    }
    guard let filter = ResampleFilter(rawValue: try reader.string("filter")) else {
      throw ArtifactError(path: path, reason: "it uses an unknown filter")
    }
    let view = ViewSpecification(
      size: try reader.integer("imageSize"), filter: filter, mean: try reader.floats("mean"),
      standardDeviation: try reader.floats("standardDeviation"))
    let tokenizer = try KMeansTokenizer(
      codebook: try reader.tensor("codebook"), patchSize: try reader.integer("patchSize"),
      view: view)
    return (tokenizer, try reader.tensor("shares").values)
  }
}
