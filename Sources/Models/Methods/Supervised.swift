public import Interfaces
public import NN
public import TensorCore

/// Classification by labels: fine-tuning where `run.initializeFrom` names a pretrained model, and
/// training from scratch where it does not.
///
/// `loss = crossEntropy(logits, targets)`; targets are the labels, mixed with those of other images of
/// the micro-batch by Mixup or CutMix and smoothed. Held-out losses are of the plain labels.
///
/// - SeeAlso: Fine-tuning of CAE, arXiv:2202.03026; Touvron et al., DeiT, arXiv:2012.12877.
public final class Supervised: PretrainingMethod {
  public static let name = "supervised"

  public struct Configuration: Codable, Sendable, Equatable {
    /// Number of classes.
    public var classes = 1000
    /// Learning rates fall by this factor from each block to the one before; 1: all are equal.
    public var layerDecay = 1.0
    /// Of the beta distribution that Mixup's share comes from; 0: no Mixup.
    public var mixup = 0.8
    /// Of that of CutMix; 0: no CutMix. Where both are on, each has half of the micro-batches.
    public var cutMix = 1.0
    /// Part of the target that is spread over all classes.
    public var labelSmoothing = 0.1
    public var initialization = InitializationScheme.xavier

    public init() {}
  }

  public static let defaultConfiguration = Configuration()

  public let views: [ViewSpecification]
  public let parameters: ParameterTree
  public let classes: Int
  private let model: FineTuneModel
  private let mixing: MixupConfiguration

  public init(
    _ configuration: Configuration, _ context: MethodContext
  ) throws(ConfigurationError) {
    try configuration.validate()
    views = [context.encoderView]
    parameters = ParameterTree()
    classes = configuration.classes
    model = FineTuneModel(
      context.model, classes: classes, layerDecay: configuration.layerDecay,
      scheme: configuration.initialization, in: parameters)
    mixing = MixupConfiguration(
      mixupAlpha: configuration.mixup, cutMixAlpha: configuration.cutMix,
      smoothing: configuration.labelSmoothing)
  }

  public func losses(for batch: Batch, _ context: ForwardContext) -> MethodOutput {
    let step = context.step
    let draw =
      step.isTraining
      ? MixupDraw(
        mixing, seed: step.seed, key: batch.keys[0], imageSize: model.configuration.imageSize)
      : MixupDraw.none
    draw.apply(to: batch.views[0], pool: context.tape.pool)
    let logits = model(batch.views[0], context)
    let targets = draw.targets(
      labels: batch.labels, smoothing: step.isTraining ? mixing.smoothing : 0)
    let (loss, correct) = context.tape.crossEntropy(logits, targets: targets)
    return MethodOutput(
      terms: [LossTerm(name: "Classification", loss: loss, weight: 1)],
      scalars: [("accuracy", Double(correct) / Double(batch.count))])
  }
}

extension Supervised: ClassifierMethod {
  public func logits(of images: Tensor, _ context: ForwardContext) -> Tensor {
    context.tape.withoutGradient { model(images, context).value }
  }

  public static func pretrainedName(of parameter: String) -> String? {
    FineTuneModel.pretrainedName(of: parameter)
  }
}

extension Supervised.Configuration {
  /// Beta distributions are drawn by rejection, which takes ever longer the narrower they are.
  private var largestAlpha: Double { 4 }

  /// - Throws: A sentence for the first value that no classifier can have.
  func validate() throws(ConfigurationError) {
    guard classes > 1 else {
      throw ConfigurationError("method.classes", "must be at least 2, not \(classes)")
    }
    guard layerDecay > 0, layerDecay <= 1 else {
      throw ConfigurationError("method.layerDecay", "must be in (0, 1], not \(layerDecay)")
    }
    for (name, value) in [("mixup", mixup), ("cutMix", cutMix)]
    where !(0...largestAlpha).contains(value) {
      throw ConfigurationError(
        "method.\(name)", "must be in [0, \(Int(largestAlpha))], not \(value)")
    }
    guard (0..<1).contains(labelSmoothing) else {
      throw ConfigurationError(
        "method.labelSmoothing", "must be in [0, 1), not \(labelSmoothing)")
    }
  }
}
