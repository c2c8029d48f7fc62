import Artifacts
public import Interfaces
public import Models
import TensorCore

/// Files of tokenizers. Of a k-means tokenizer: `/codebook` `[vocabulary, width]`, `/shares`
/// `[vocabulary]`, and either the view that its patches are cut from or, named with `teacher.` before,
/// the tensors of the teacher whose features it codes. Of the DALL-E encoder: its tensors under their
/// published names, as safetensors or in HDF5.
public enum TokenizerFile {
  private static let key = "method.tokenizer"
  private static let kind = "kmeans-tokenizer"
  private static let teacherPrefix = "teacher."
  private static let largestVocabulary = 65_536
  /// Pixels along a side.
  private static let largestImage = 65_536

  /// - Parameter teacher: The file of the teacher whose features are coded, if it is such a tokenizer.
  public static func write(
    _ tokenizer: KMeansTokenizer, shares: [Double], teacher: String?, to path: String
  ) throws {
    var tensors: [(name: String, tensor: Tensor)] = [
      ("codebook", tokenizer.codebook.vectors),
      ("shares", Tensor(shares.map(Float.init), shape: [shares.count])),
    ]
    var attributes: [(name: String, value: ArtifactWriter.Attribute)] = [
      ("kind", .string(kind)), ("formatVersion", .integer(1)),
    ]
    if let patches = tokenizer.vectors as? StandardizedPatches {
      attributes += [
        ("patchSize", .integer(patches.patchSize)), ("imageSize", .integer(patches.view.size)),
        ("filter", .string(patches.view.filter.rawValue)), ("mean", .floats(patches.view.mean)),
        ("standardDeviation", .floats(patches.view.standardDeviation)),
      ]
    } else if let teacher {
      let file = try NamedTensorFiles.open(teacher)
      for name in try TeacherFile.teacher(of: file, key: key, grid: tokenizer.grid).names {
        tensors.append((teacherPrefix + name, try file.tensor(name)))
      }
    }
    try ArtifactWriter.write(to: path, tensors: tensors, attributes: attributes)
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
        case .kMeans(let codes): try codes.tokenizer(grid: grid)
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
    case kMeans(Codes)
    case dalle(DALLEEncoder)
  }

  /// A k-means tokenizer but for the teacher, which is only made for a grid.
  struct Codes {
    let codebook: Codebook
    /// The share of each code among the patches that it was checked on.
    let shares: [Float]
    /// Nil: the codes are of a teacher's features.
    let patches: StandardizedPatches?
    fileprivate let file: ArtifactReader

    func tokenizer(grid: Int) throws -> KMeansTokenizer {
      let vectors: any PatchVectors =
        try patches
        ?? FeatureDirections(
          TeacherFile.teacher(of: file, prefix: teacherPrefix, key: key, grid: grid).teacher)
      return try KMeansTokenizer(codebook, of: vectors)
    }
  }

  static func contents(of path: String) throws -> Contents {
    let file = try NamedTensorFiles.open(path)
    if let reader = file as? ArtifactReader, try reader.hasAttribute("kind"),
      try reader.string("kind") == kind
    {
      return .kMeans(try codes(of: reader))
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

  private static func codes(of reader: ArtifactReader) throws -> Codes {
    let codebook = try reader.tensor("codebook")
    let shares = try reader.tensor("shares").values
    guard codebook.shape.rank == 2, (1...largestVocabulary).contains(codebook.rows),
      codebook.columns > 0, shares.count == codebook.rows
    else {
      throw ArtifactError(
        path: reader.path,
        reason: "it has shares of \(shares.count) codes, but a codebook \(codebook.shape)")
    }
    let patches = try patches(of: reader)
    guard try patches.map({ $0.width == codebook.columns }) ?? hasTeacher(reader) else {
      throw ArtifactError(
        path: reader.path,
        reason: "a codebook \(codebook.shape) fits neither its patches nor a teacher in it")
    }
    return Codes(codebook: Codebook(codebook), shares: shares, patches: patches, file: reader)
  }

  private static func hasTeacher(_ reader: ArtifactReader) throws -> Bool {
    try reader.names.contains { $0.hasPrefix(teacherPrefix) }
  }

  private static func patches(of reader: ArtifactReader) throws -> StandardizedPatches? {
    guard try reader.hasAttribute("patchSize") else { return nil }
    guard let filter = ResampleFilter(rawValue: try reader.string("filter")) else {
      throw ArtifactError(path: reader.path, reason: "it uses an unknown filter")
    }
    let (patchSize, size) = (try reader.integer("patchSize"), try reader.integer("imageSize"))
    guard patchSize > 0, (1...largestImage).contains(size), size % patchSize == 0 else {
      throw ArtifactError(
        path: reader.path, reason: "patches of \(patchSize) pixels do not fill images of \(size)")
    }
    return StandardizedPatches(
      patchSize: patchSize,
      view: ViewSpecification(
        size: size, filter: filter, mean: try reader.floats("mean"),
        standardDeviation: try reader.floats("standardDeviation")))
  }
}
