public import Interfaces

/// Sizes of a vision transformer: the `model` section of a run.
public struct VisionTransformerConfiguration: Codable, Sendable, Equatable {
  public var imageSize: Int
  public var patchSize: Int
  public var channels: Int
  public var embedDim: Int
  public var depth: Int
  public var numHeads: Int
  public var mlpRatio: Double
  /// Start of the layer scale; 0: none.
  public var layerScaleInit: Double
  public var dropPathRate: Double

  public init(
    imageSize: Int = 224, patchSize: Int = 16, channels: Int = 3, embedDim: Int, depth: Int,
    numHeads: Int, mlpRatio: Double = 4, layerScaleInit: Double = 0.1, dropPathRate: Double = 0.1
  ) {
    self.imageSize = imageSize
    self.patchSize = patchSize
    self.channels = channels
    self.embedDim = embedDim
    self.depth = depth
    self.numHeads = numHeads
    self.mlpRatio = mlpRatio
    self.layerScaleInit = layerScaleInit
    self.dropPathRate = dropPathRate
  }

  public static let tiny = VisionTransformerConfiguration(embedDim: 192, depth: 12, numHeads: 12)
  public static let small = VisionTransformerConfiguration(embedDim: 384, depth: 12, numHeads: 12)
  public static let base = VisionTransformerConfiguration(embedDim: 768, depth: 12, numHeads: 12)
  public static let large = VisionTransformerConfiguration(
    embedDim: 1024, depth: 24, numHeads: 16, layerScaleInit: 1e-5)

  /// Patches along one side.
  public var grid: Int { imageSize / patchSize }
  public var patchCount: Int { grid * grid }
  /// Values of one patch, channel slowest.
  public var patchValues: Int { channels * patchSize * patchSize }

  /// - Throws: A sentence for the first size that fits no model.
  public func validate() throws(ConfigurationError) {
    let positive = [
      ("imageSize", imageSize), ("patchSize", patchSize), ("channels", channels),
      ("embedDim", embedDim), ("depth", depth), ("numHeads", numHeads),
    ]
    for (name, value) in positive where value < 1 {
      throw ConfigurationError("model.\(name)", "must be at least 1, not \(value)")
    }
    guard imageSize % patchSize == 0 else {
      throw ConfigurationError(
        "model.patchSize",
        "\(imageSize) x \(imageSize) images do not divide into patches of \(patchSize)")
    }
    try VisionTransformerConfiguration.validate(
      width: embedDim, heads: numHeads, widthKey: "model.embedDim", headsKey: "model.numHeads")
    guard mlpRatio * Double(embedDim) >= 1, mlpRatio <= 1024 else {
      throw ConfigurationError(
        "model.mlpRatio", "must give at least one hidden value and be at most 1024, not \(mlpRatio)"
      )
    }
    guard layerScaleInit >= 0, layerScaleInit.isFinite else {
      throw ConfigurationError("model.layerScaleInit", "must not be negative")
    }
    guard (0..<1).contains(dropPathRate) else {
      throw ConfigurationError("model.dropPathRate", "must be in [0, 1), not \(dropPathRate)")
    }
  }

  static func validate(
    width: Int, heads: Int, widthKey: String, headsKey: String
  ) throws(ConfigurationError) {
    guard width % 4 == 0 else {
      throw ConfigurationError(
        widthKey, "\(width) is not divisible by 4, which the sine-cosine positions need")
    }
    guard heads > 0, width % heads == 0 else {
      throw ConfigurationError(
        headsKey, "\(heads) heads do not divide a width of \(width)")
    }
  }
}
