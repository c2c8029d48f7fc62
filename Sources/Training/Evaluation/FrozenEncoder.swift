import Interfaces
public import Models
import NN
public import TensorCore

/// What is taken from an image for an evaluation.
public enum FeatureKind: String, CaseIterable, Sendable, Codable {
  /// The class token after the final norm, `[C]`.
  case classToken = "class"
  /// The mean of the patch tokens after the final norm, `[C]`.
  case mean
  /// All tokens after the final norm, `[1 + N, C]`, class token first.
  case tokens
}

/// Whose features are judged.
public enum EncoderSource: String, CaseIterable, Sendable, Codable {
  case pretrained
  /// The same model with the weights that its training started from.
  case untrained
  /// No encoder: the normalized pixels themselves.
  case pixels
}

/// An encoder whose weights stay as they are. All patches are visible, nothing is dropped.
public final class FrozenEncoder {
  public let path: String
  /// Updates that the weights have seen; 0 where they are not trained.
  public let step: Int
  public let source: EncoderSource
  public let configuration: ResolvedConfiguration
  private let tree = ParameterTree()
  private let encoder: VisionTransformer
  private let parameters: FlatBuffer
  private let tape: Tape
  private let info = StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false)

  private init(
    _ configuration: ResolvedConfiguration, path: String, step: Int, source: EncoderSource,
    pool: ThreadPool
  ) {
    self.configuration = configuration
    (self.path, self.step, self.source) = (path, step, source)
    let scheme = configuration.methodValue("initialization").flatMap {
      InitializationScheme(rawValue: $0)
    }
    encoder = VisionTransformer(
      "encoder", configuration.training.model, scheme: scheme ?? .xavier, in: tree)
    parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "encoder")
    tape = Tape(parameters: parameters, pool: pool)
  }

  /// Loads the encoder of a checkpoint on all ranks; the first one reads and checks it.
  ///
  /// Collective. Blocking.
  ///
  /// - Parameter path: A run, a checkpoint, or a merged file.
  /// - Throws: `AgreedFailure`.
  public static func load(
    _ path: String, _ source: EncoderSource, agreement: Agreement,
    pool: (ResolvedConfiguration) throws -> ThreadPool
  ) throws -> FrozenEncoder {
    let found = try AgreedCheckpoint(path, agreement)
    let encoder = try agreement.run {
      FrozenEncoder(
        found.configuration, path: found.path, step: source == .pretrained ? found.step : 0,
        source: source, pool: try pool(found.configuration))
    }
    try agreement.run {
      if source == .untrained {
        // A function of (seed, name): the weights that the run started from.
        encoder.parameters.initialize(
          encoder.tree, seed: UInt64(encoder.configuration.training.run.seed))
      } else {
        try found.checkpoint?.load(encoder.tree, into: encoder.parameters)
      }
    }
    try agreement.group.broadcast(encoder.memory, root: 0)
    return encoder
  }

  /// An encoder for a run that goes on, without weights yet.
  init(of run: TrainingRun) {
    configuration = run.configuration
    (path, step, source) = (run.output, 0, .pretrained)
    encoder = VisionTransformer(
      "encoder", configuration.training.model, scheme: .xavier, in: tree)
    parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "encoder")
    tape = Tape(parameters: parameters, pool: run.pool)
  }

  /// Copies the weights of the model that is being trained.
  ///
  /// - Throws: Where it has no such encoder.
  func copyWeights(_ trained: FlatBuffer, of model: ParameterTree) throws(ConfigurationError) {
    for entry in tree.entries {
      guard let same = model.parameter(named: entry.parameter.name),
        same.shape == entry.parameter.shape
      else {
        throw ConfigurationError(
          "evaluation.everySteps",
          "must be 0: this method has no encoder with a parameter \(entry.parameter.name)")
      }
      parameters.pointer(entry.parameter).update(from: trained.pointer(same), count: same.count)
    }
  }

  private var memory: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(parameters.memory(0..<parameters.count))
  }

  public var model: VisionTransformerConfiguration { configuration.training.model }

  var threadCount: Int { tape.pool.threadCount }

  /// Shape of an image's features.
  public func shape(of kind: FeatureKind) -> [Int] {
    guard source != .pixels else { return [model.channels * model.imageSize * model.imageSize] }
    return kind == .tokens ? [1 + model.patchCount, model.embedDim] : [model.embedDim]
  }

  /// Images that go through the encoder together, at most.
  private static let chunk = 64

  /// Features of images `[B, channels, S, S]`: `[B, C]`, or `[B, 1 + N, C]` for all tokens.
  public func features(_ kind: FeatureKind, of images: Tensor) -> Tensor {
    let batch = images.shape[0]
    let features = Tensor(uninitialized: Shape([batch] + shape(of: kind)))
    guard source != .pixels else {
      features.pointer.update(from: images.pointer, count: images.count)
      return features
    }
    let (pixels, columns) = (images.count / batch, features.count / batch)
    for first in stride(from: 0, to: batch, by: FrozenEncoder.chunk) {
      let count = min(FrozenEncoder.chunk, batch - first)
      let part = Tensor(
        storage: images.storage, offset: images.offset + first * pixels,
        shape: Shape([count] + images.shape.dimensions.dropFirst()))
      let values = FrozenEncoder.pooled(tokens(of: part), kind)
      (features.pointer + first * columns).update(from: values.pointer, count: values.count)
    }
    return features
  }

  private func tokens(of images: Tensor) -> Tensor {
    let keys = (0..<images.shape[0]).map { SampleKey(epoch: 0, sample: $0) }
    return tape.withoutGradient {
      encoder.tokens(of: images, ForwardContext(tape: tape, keys: keys, step: info))
    }
  }

  private static func pooled(_ tokens: Tensor, _ kind: FeatureKind) -> Tensor {
    if kind == .tokens { return tokens }
    let (batch, count, width) = (tokens.shape[0], tokens.shape[1], tokens.shape[2])
    let pooled = Tensor(repeating: 0, shape: [batch, width])
    for sample in 0..<batch {
      let (target, first) = (
        pooled.pointer + sample * width, tokens.pointer + sample * count * width
      )
      guard kind == .mean else {
        target.update(from: first, count: width)
        continue
      }
      for token in 1..<count {
        for column in 0..<width { target[column] += first[token * width + column] }
      }
      for column in 0..<width { target[column] /= Float(count - 1) }
    }
    return pooled
  }
}
