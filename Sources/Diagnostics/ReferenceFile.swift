import Artifacts
import Interfaces
import Models
import NN
import TensorCore

/// A reference file: weights, one batch and what CAE or CAE v2 must compute from them.
struct ReferenceFile {
  /// What the model is to predict, and its method's own settings.
  enum Method {
    case version1(CAE.Configuration, vocabularySize: Int, TokenIndices)
    /// Features of a teacher, `[B, 1 + P, T]`.
    case version2(CAEv2.Configuration, Tensor)
  }

  let path: String
  let model: VisionTransformerConfiguration
  let method: Method
  let images: Tensor
  let mask: PatchMask
  private let reader: ArtifactReader

  struct Trajectory {
    let optimizer: AdamWConfiguration
    let losses: [Float]
    let gradientNorms: [Float]
  }

  init(path: String) throws(VerificationError) {
    self.path = path
    do {
      let reader = try ArtifactReader(path: path)
      let version = try reader.integer("version")
      guard version == 1 || version == 2 else {
        throw VerificationError.notBuilt(path: path, method: "CAE version \(version)")
      }
      self.reader = reader
      model = try ReferenceFile.model(reader)
      try model.validate()
      let (width, heads) = (try reader.integer("decoder_dim"), try reader.integer("decoder_heads"))
      guard heads > 0, width % heads == 0 else {
        throw ConfigurationError("decoder_heads", "do not divide decoder_dim")
      }
      images = try reader.tensor("input/images")
      guard
        images.shape.dimensions.dropFirst() == [model.channels, model.imageSize, model.imageSize]
      else {
        throw ArtifactError(
          path: path, reason: "input/images \(images.shape) are not of \(model.imageSize) pixels")
      }
      mask = try ReferenceFile.mask(reader, batch: images.shape[0], patches: model.patchCount)
      method =
        version == 1
        ? try ReferenceFile.version1(reader, model, mask)
        : try ReferenceFile.version2(reader, model, mask)
    } catch let error as VerificationError {
      throw error
    } catch let error as ConfigurationError {
      throw .configuration(path: path, error)
    } catch let error as ArtifactError {
      throw .file(error)
    } catch {
      throw .file(ArtifactError(path: path, reason: "\(error)"))
    }
  }

  /// - Throws: Also where the number of values is not `count`.
  func tensor(_ name: String, count: Int? = nil) throws(ArtifactError) -> Tensor {
    let tensor = try reader.tensor(name)
    guard tensor.count == count ?? tensor.count, tensor.count > 0 else {
      throw ArtifactError(
        path: path, reason: "\(name) \(tensor.shape) should have \(count ?? 1) values")
    }
    return tensor
  }

  /// Every parameter of the model must be there with its shape and decay, and no other.
  func loadWeights(_ tree: ParameterTree, into buffer: FlatBuffer) throws(ArtifactError) {
    let names = try reader.names(in: "weights")
    if let extra = names.first(where: { tree.parameter(named: $0) == nil }) {
      throw ArtifactError(path: path, reason: "the model has no parameter \(extra)")
    }
    for entry in tree.entries {
      let name = "weights/\(entry.parameter.name)"
      let weight = try reader.tensor(name)
      guard weight.shape == entry.parameter.shape else {
        throw ArtifactError(
          path: path, reason: "\(name) is \(weight.shape), not \(entry.parameter.shape)")
      }
      guard try reader.integer("weight_decay", of: name) == (entry.hasWeightDecay ? 1 : 0) else {
        throw ArtifactError(path: path, reason: "\(name): weight decay differs from the model's")
      }
      buffer.pointer(entry.parameter).update(from: weight.pointer, count: weight.count)
    }
  }

  func trajectory() throws(ArtifactError) -> Trajectory {
    func attribute(_ name: String) throws(ArtifactError) -> Double {
      try reader.double(name, of: "trajectory")
    }
    let rate = try attribute("lr")
    let optimizer = AdamWConfiguration(
      learningRate: rate, minimumLearningRate: rate, beta1: try attribute("beta1"),
      beta2: try attribute("beta2"), epsilon: try attribute("eps"),
      weightDecay: try attribute("weight_decay"), clipNorm: try attribute("clip"))
    let losses = try reader.tensor("trajectory/losses").values
    let norms = try tensor("trajectory/gradient_norms", count: losses.count).values
    return Trajectory(optimizer: optimizer, losses: losses, gradientNorms: norms)
  }

  private static func model(
    _ reader: ArtifactReader
  ) throws(ArtifactError) -> VisionTransformerConfiguration {
    let images = try reader.tensor("input/images")
    return VisionTransformerConfiguration(
      imageSize: try reader.integer("image_size"), patchSize: try reader.integer("patch_size"),
      channels: images.shape.rank == 4 ? images.shape[1] : 3,
      embedDim: try reader.integer("embed_dim"), depth: try reader.integer("depth"),
      numHeads: try reader.integer("heads"), mlpRatio: try reader.double("mlp_ratio"),
      layerScaleInit: try reader.double("layer_scale"), dropPathRate: 0)
  }

  private static func version1(
    _ reader: ArtifactReader, _ model: VisionTransformerConfiguration, _ mask: PatchMask
  ) throws(ArtifactError) -> Method {
    var configuration = CAE.Configuration()
    configuration.numMaskedPatches = try reader.integer("masked")
    configuration.decoderDim = try reader.integer("decoder_dim")
    configuration.decoderHeads = try reader.integer("decoder_heads")
    configuration.regressorDepth = try reader.integer("regressor_depth")
    configuration.decoderDepth = try reader.integer("decoder_depth")
    configuration.decoderLayerScaleInit = model.layerScaleInit
    configuration.alignmentWeight = try reader.double("alignment_weight")
    let vocabularySize = try reader.integer("vocab")
    return .version1(
      configuration, vocabularySize: vocabularySize,
      try targets(reader, count: mask.masked.count, below: vocabularySize))
  }

  private static func version2(
    _ reader: ArtifactReader, _ model: VisionTransformerConfiguration, _ mask: PatchMask
  ) throws(ArtifactError) -> Method {
    var configuration = CAEv2.Configuration()
    configuration.numMaskedPatches = try reader.integer("masked")
    configuration.decoderDim = try reader.integer("decoder_dim")
    configuration.decoderHeads = try reader.integer("decoder_heads")
    configuration.regressorDepth = try reader.integer("regressor_depth")
    configuration.decoderLayerScaleInit = model.layerScaleInit
    let targets = try reader.tensor("input/target")
    let shape: Shape = [mask.batch, 1 + model.patchCount, try reader.integer("target_dim")]
    guard targets.shape == shape else {
      throw ArtifactError(
        path: reader.path, reason: "input/target is \(targets.shape), not \(shape)")
    }
    return .version2(configuration, targets)
  }

  private static func mask(
    _ reader: ArtifactReader, batch: Int, patches: Int
  ) throws(ArtifactError) -> PatchMask {
    let (values, shape) = try reader.integers("input/mask")
    let rows =
      shape == [batch, patches]
      ? (0..<batch).map { row in (0..<patches).map { values[row * patches + $0] != 0 } } : []
    let counts = Set(rows.map { $0.count(where: \.self) })
    guard counts.count == 1, let count = counts.first, count > 0, count < patches else {
      throw ArtifactError(
        path: reader.path,
        reason: "input/mask must be [\(batch), \(patches)] with as many ones in every row")
    }
    return PatchMask(rows: rows)
  }

  private static func targets(
    _ reader: ArtifactReader, count: Int, below vocabularySize: Int
  ) throws(ArtifactError) -> TokenIndices {
    let values = try reader.integers("input/target").values
    guard values.count == count, values.allSatisfy({ (0..<Int64(vocabularySize)).contains($0) })
    else {
      throw ArtifactError(
        path: reader.path,
        reason: "input/target must be \(count) tokens below \(vocabularySize)")
    }
    return TokenIndices(values.map(Int32.init))
  }
}
