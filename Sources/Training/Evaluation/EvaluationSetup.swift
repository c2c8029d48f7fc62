import Foundation
import Interfaces
import ShardedData
import TensorCore

/// What every evaluation has: encoder, labelled images, and how they are read.
final class EvaluationSetup {
  let request: EvaluationRequest
  let group: any ProcessGroup
  let agreement: Agreement
  let encoder: FrozenEncoder
  let pool: ThreadPool
  /// Of this rank.
  private let cores: Int
  let train: LabelledImages
  let validation: LabelledImages
  private let log: (String) -> Void
  /// Features of the validation images, where they take at most `storedBytes`.
  private var validationStore: FeatureStore?

  private static let storedBytes = 2 << 30
  private static let featureBatch = 64

  /// Collective. Blocking.
  ///
  /// - Parameter log: Gets lines on the first rank.
  init(
    _ request: EvaluationRequest, _ group: any ProcessGroup, log: @escaping (String) -> Void
  ) throws {
    let agreement = Agreement(group)
    (self.request, self.group, self.agreement) = (request, group, agreement)
    self.log = log
    try agreement.run { try request.validate() }
    let cores = try RankLayout.cores(of: group)
    self.cores = cores
    var threads: ThreadPool?
    encoder = try FrozenEncoder.load(
      request.checkpoint, request.source, agreement: agreement
    ) { configuration in
      let made = ThreadPool(
        threadCount: ThreadCount.resolve(
          configuration.training.parallelism.threadsPerRank, cores: cores))
      threads = made
      return made
    }
    guard let threads else { preconditionFailure("an encoder without threads") }
    pool = threads
    let training = encoder.configuration.training
    (train, validation) = try agreement.run {
      try LabelledImages.pair(
        train: request.train.isEmpty ? training.data.train : request.train,
        validation: request.validation.isEmpty ? training.data.validation : request.validation,
        classes: request.classes, training)
    }
  }

  /// On the first rank.
  func say(_ text: String) { if group.rank == 0 { log(text) } }

  func loaderOptions(seed: Int) -> LoaderOptions {
    var options = encoder.configuration.training.loaderOptions(
      kernelThreads: pool.threadCount, cores: cores)
    options.seed = UInt64(seed)
    return options
  }

  /// The picture that is evaluated: resized and cut out of the middle.
  var plainTransform: LoaderTransform {
    let training = encoder.configuration.training
    return .evaluation([training.encoderView], cropShare: training.data.validationCropShare)
  }

  /// Random crops of 8 to 100 % of the area, and flips.
  func trainTransform(_ views: ProbeViews) -> LoaderTransform {
    if views == .plain { return plainTransform }
    var plan = ViewPlan(
      cropScale: 0.08...1, cropAspect: 0.75...4 / 3, flipProbability: 0.5,
      views: [encoder.configuration.training.encoderView])
    if case .fixed(let count) = views { plan.fixedViews = count }
    // As published: linear probes crop without trying again.
    if case .linear = request.recipe { plan.cropSampling = .clamped }
    return .training(plan)
  }

  /// Features of a whole data set. Collective.
  func store(
    _ images: LabelledImages, pictures: Int = 1, transform: LoaderTransform, seed: Int = 0,
    name: String
  ) throws -> FeatureStore {
    let shape = encoder.shape(of: request.kind)
    let store = try FeatureStore(
      count: images.count, pictures: pictures, shape: shape, agreement: agreement)
    let pass = featurePass(images, transform, seed: seed, batch: EvaluationSetup.featureBatch)
    let clock = EvaluationClock(done: 0, of: 1000)
    var shown = 0.0
    try store.compute(pass, agreement) { share in
      guard share - shown >= 0.1 else { return }
      shown = share
      say(
        "features of \(images.count) \(name) images: \(Int(share * 100)) %, ETA "
          + clock.left(at: Int(share * 1000)))
    }
    return store
  }

  /// This rank's batches of validation images. Features are computed once if they fit the memory.
  ///
  /// - Parameter body: Gets those that count alone. Nothing in it is collective.
  func forEachValidationBatch(
    _ body: (_ features: Tensor, _ labels: [Int32]) throws -> Void
  ) throws {
    let batches = OrderedBatches(count: validation.count, size: ProbeEvaluation.validationBatch)
    guard let store = validationStore else {
      let pass = featurePass(
        validation, plainTransform, seed: 0, batch: ProbeEvaluation.validationBatch)
      try pass.run { number, features, labels in
        let count = batches.samples(of: number).count
        try body(features.prefix(count), Array(labels.prefix(count)))
      }
      return
    }
    for number in stride(from: group.rank, to: batches.batches, by: group.worldSize) {
      let samples = batches.samples(of: number)
      let features = Tensor(uninitialized: Shape([samples.count] + store.shape))
      features.pointer.update(
        from: store.features(of: samples.lowerBound), count: features.count)
      try body(features, samples.map { store.label(of: $0) })
    }
  }

  /// Collective. Computes the validation features beforehand, if they fit the memory.
  func prepareValidation() throws {
    let columns = encoder.shape(of: request.kind).reduce(1, *)
    let bytes = FeatureStore.byteCount(count: validation.count, pictures: 1, columns: columns)
    guard bytes <= EvaluationSetup.storedBytes else { return }
    validationStore = try store(validation, transform: plainTransform, name: "validation")
  }

  private func featurePass(
    _ images: LabelledImages, _ transform: LoaderTransform, seed: Int, batch: Int
  ) -> FeaturePass {
    FeaturePass(
      features: { [encoder, request] in encoder.features(request.kind, of: $0) }, images: images,
      batches: OrderedBatches(count: images.count, size: batch), transform: transform,
      options: loaderOptions(seed: seed), group: group)
  }
}

extension Tensor {
  /// The first rows of the first dimension.
  fileprivate func prefix(_ count: Int) -> Tensor {
    Tensor(
      storage: storage, offset: offset, shape: Shape([count] + shape.dimensions.dropFirst()))
  }
}

/// How long the rest will take.
struct EvaluationClock {
  private let started = ProcessInfo.processInfo.systemUptime
  private let done: Int
  private let total: Int

  init(done: Int, of total: Int) { (self.done, self.total) = (done, total) }

  func left(at now: Int) -> String {
    let spent = ProcessInfo.processInfo.systemUptime - started
    return ProgressLine.duration(spent * Double(total - now) / Double(max(now - done, 1)))
  }

  static func rounded(_ value: Double, digits: Int) -> String {
    String(format: "%.\(digits)f", value)
  }
}
