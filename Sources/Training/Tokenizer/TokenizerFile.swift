public import Artifacts
public import Interfaces
public import Models
import TensorCore

/// Files of tokenizers. Of a k-means tokenizer: `/codebook` `[vocabulary, C p p]`, `/shares`
/// `[vocabulary]` and the view that its patches are cut from. Of the DALL-E encoder: its tensors
/// under their published names, as safetensors or in HDF5.
public enum TokenizerFile {
  private static let key = "method.tokenizer"
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

  /// A tokenizer of any kind.
  ///
  /// - Parameter grid: Patches along one side of the model's image: a tokenizer that takes images
  ///   of any size gets the size that gives as many tokens.
  /// - Throws: Where the file is missing, damaged or for images of other channels; names the
  ///   command that makes one.
  public static func open(
    _ path: String, channels: Int, grid: Int
  ) throws(ConfigurationError) -> any DiscreteTokenizer {
    guard !path.isEmpty else {
      throw ConfigurationError(key, "names no file; make one with cae-dist tokenizer fit")
    }
    do {
      let tokenizer: any DiscreteTokenizer =
        switch try contents(of: path) {
        case .kMeans(let tokenizer, _): tokenizer
        case .dalle(let encoder): DALLETokenizer(encoder, grid: grid)
        }
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

  /// What a file holds.
  enum Contents {
    /// With the share of each code among the patches that it was checked on.
    case kMeans(KMeansTokenizer, shares: [Float])
    case dalle(DALLEEncoder)
  }

  static func contents(of path: String) throws -> Contents {
    let file = try NamedTensorFiles.open(path)
    if let reader = file as? ArtifactReader, try reader.hasAttribute("kind"),
      try reader.string("kind") == kind
    {
      let (tokenizer, shares) = try read(path)
      return .kMeans(tokenizer, shares: shares)
    }
    guard try file.contains("blocks.input.w") else {
      throw ArtifactError(path: path, reason: "it is not a tokenizer")
    }
    let encoder = try DALLEEncoder(tensors(of: file))
    // The model keeps the weights in an order of its own; what they were read into is not needed.
    MemoryPool.shared.trim()
    return .dalle(encoder)
  }

  /// The decoder that belongs to a DALL-E encoder.
  ///
  /// - Throws: `ConfigurationError` under the option's name.
  public static func decoder(
    _ path: String, of encoder: DALLEEncoder
  ) throws(ConfigurationError) -> DALLEDecoder {
    let decoder: DALLEDecoder
    do {
      decoder = try DALLEDecoder(tensors(of: try NamedTensorFiles.open(path)))
    } catch let error as ConfigurationError {
      throw ConfigurationError("--decoder", error.reason)
    } catch {
      throw ConfigurationError("--decoder", "\(error)")
    }
    MemoryPool.shared.trim()
    guard decoder.vocabularySize == encoder.vocabularySize, decoder.reduction == encoder.reduction
    else {
      throw ConfigurationError(
        "--decoder",
        "\(path) is for \(decoder.vocabularySize) tokens of \(decoder.reduction) pixels, the encoder "
          + "makes \(encoder.vocabularySize) of \(encoder.reduction)")
    }
    return decoder
  }

  private static func tensors(of file: any NamedTensorFile) -> NamedTensors {
    NamedTensors(source: file.path) { (name) throws(ConfigurationError) in
      do throws(ArtifactError) {
        return try file.contains(name) ? file.tensor(name) : nil
      } catch {
        throw ConfigurationError(key, error.description)
      }
    }
  }

  /// A k-means tokenizer, and the share of each code among the patches that it was checked on.
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
    let shares = try reader.tensor("shares").values
    guard shares.count == tokenizer.vocabularySize else {
      throw ArtifactError(
        path: path,
        reason: "it has shares of \(shares.count) codes, not of \(tokenizer.vocabularySize)")
    }
    return (tokenizer, shares)
  }
}
