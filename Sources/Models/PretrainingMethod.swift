public import Interfaces
public import NN

/// One term of a method's objective: the trainer sums `weight * value`, and logs the value as
/// `loss<Name>`.
public struct LossTerm {
  public let name: String
  public let loss: ScalarVariable
  public let weight: Double

  public init(name: String, loss: ScalarVariable, weight: Double) {
    self.name = name
    self.loss = loss
    self.weight = weight
  }
}

/// What a method makes of a micro-batch: terms to train on and figures to log, both averaged over
/// the micro-batches of a step.
public struct MethodOutput {
  public let terms: [LossTerm]
  public let scalars: [(name: String, value: Double)]

  public init(terms: [LossTerm], scalars: [(name: String, value: Double)]) {
    self.terms = terms
    self.scalars = scalars
  }
}

/// What a method is built from beside its own section of the configuration.
public struct MethodContext: Sendable {
  public let model: VisionTransformerConfiguration
  /// The encoder's picture of a crop.
  public let encoderView: ViewSpecification
  /// Target tokens by the tokenizer that a configuration names, or those that were computed
  /// beforehand; files are no business of a method.
  public let openTokens: @Sendable (String) throws(ConfigurationError) -> TokenSource
  /// Likewise features of the teacher that a configuration names.
  public let openFeatures: @Sendable (String) throws(ConfigurationError) -> FeatureSource

  public init(
    model: VisionTransformerConfiguration, encoderView: ViewSpecification,
    openTokens: @escaping @Sendable (String) throws(ConfigurationError) -> TokenSource,
    openFeatures: @escaping @Sendable (String) throws(ConfigurationError) -> FeatureSource
  ) {
    self.model = model
    self.encoderView = encoderView
    self.openTokens = openTokens
    self.openFeatures = openFeatures
  }
}

/// A pretraining method: all that the trainer knows of it.
///
/// A new method is one file with a type like this and one line in `MethodRegistry`.
public protocol PretrainingMethod: AnyObject, SendableMetatype {
  /// Its section of the configuration; the default value documents every key.
  associatedtype Configuration: Codable & Sendable & Equatable
  static var name: String { get }
  static var defaultConfiguration: Configuration { get }

  init(_ configuration: Configuration, _ context: MethodContext) throws(ConfigurationError)

  /// Pictures that the loader makes of a crop, `context.encoderView` among them.
  var views: [ViewSpecification] { get }
  /// What is trained.
  var parameters: ParameterTree { get }
  /// What is saved but not trained. Default: nothing.
  var buffers: [NamedBuffer] { get }

  /// The objective on one micro-batch. Random draws are functions of the batch's keys.
  func losses(for batch: Batch, _ context: ForwardContext) -> MethodOutput

  /// After an update of the parameters, for averages such as a teacher's. Collective: called on
  /// every rank at the same step. Default: nothing.
  func didUpdateParameters(
    _ parameters: FlatBuffer, at step: StepInfo, in group: any ProcessGroup
  ) throws(CollectiveError)
}

extension PretrainingMethod {
  public var buffers: [NamedBuffer] { [] }

  public func didUpdateParameters(
    _ parameters: FlatBuffer, at step: StepInfo, in group: any ProcessGroup
  ) throws(CollectiveError) {}
}
