import Files
import Interfaces
import Models
import NN
import ShardedData
import TensorCore

/// `cae-dist evaluate linear` and `attentive`: trains a head, looks at the validation images after
/// every epoch, and saves the head, from which an interrupted evaluation goes on.
struct ProbeEvaluation {
  /// Validation images that batch statistics are of: CAE's 1.5 x 256.
  static let validationBatch = 384

  let setup: EvaluationSetup
  let options: ProbeOptions
  let training: ProbeTraining
  /// Where the head is kept.
  let file: ProbeFile
  let description: String

  /// Results on the validation images, by running and by batch statistics.
  struct Validation {
    var running: Accuracy
    var batch: Accuracy
  }

  init(_ setup: EvaluationSetup, _ options: ProbeOptions, file: String) throws {
    (self.setup, self.options) = (setup, options)
    let request = setup.request
    let (model, classes) = (setup.encoder.model, setup.train.classes)
    let width = setup.encoder.shape(of: request.kind).last ?? 0
    let (head, optimizer): (any ProbeHead, any MomentumOptimizer)
    if case .attentive = request.recipe {
      head = AttentiveProbe(width: width, heads: model.numHeads, classes: classes)
      optimizer = NesterovSGD(for: head.parameters)
    } else {
      head = LinearProbe(width: width, classes: classes)
      optimizer = LARS(for: head.parameters)
    }
    training = ProbeTraining(
      head, optimizer, options.statistics, seed: options.seed, group: setup.group,
      pool: setup.pool)
    self.file = ProbeFile(path: file)
    description =
      "\(request.recipe.name) on \(request.kind.rawValue) of \(setup.encoder.path), "
      + "\(request.source.rawValue), step \(setup.encoder.step); \(options.text)"
  }

  /// Collective. Blocking. Evaluates a trained head alone where the request names one.
  ///
  /// - Parameter stopAfter: Epochs after which it stops early; for tests.
  func run(stopAfter: Int = .max) throws -> (validation: Validation, best: ProbeFile.Progress?) {
    if let head = setup.request.head {
      _ = try load(ProbeFile(path: head), description: nil)
      return (try validate(), nil)
    }
    return try train(stopAfter: stopAfter)
  }

  private var stepsPerEpoch: Int { setup.train.count / options.batchSize }

  private func train(stopAfter: Int) throws -> (validation: Validation, best: ProbeFile.Progress?) {
    let total = Int(options.epochs * Double(stepsPerEpoch))
    var progress = ProbeFile.Progress(step: 0, totalSteps: total)
    if try resumes(), let saved = try load(file, description: description) {
      progress = saved
      setup.say("goes on after step \(progress.step) of \(total), \(file.path)")
    }
    var validation: Validation?
    let source = try makeSource(from: progress.step, total: total)
    let clock = EvaluationClock(done: progress.step, of: total)
    var sums = (loss: 0.0, correct: 0, steps: 0)
    let last = stopAfter < total / stepsPerEpoch ? stopAfter * stepsPerEpoch : total
    while progress.step < last {
      let batch = try setup.agreement.run { try source.next() }
      let result = try training.step(
        batch.features, batch.labels, learningRate: learningRate(at: progress.step, total))
      sums = (sums.loss + result.loss, sums.correct + result.correct, sums.steps + 1)
      progress.step += 1
      guard progress.step % stepsPerEpoch == 0 || progress.step == total else { continue }
      let found = try validate()
      validation = found
      try endEpoch(&progress, found, sums, clock)
      sums = (0, 0, 0)
    }
    return (try validation ?? validate(), progress)
  }

  /// Notes the best epoch, saves the head, and says how it goes.
  private func endEpoch(
    _ progress: inout ProbeFile.Progress, _ found: Validation,
    _ sums: (loss: Double, correct: Int, steps: Int), _ clock: EvaluationClock
  ) throws {
    let epoch = (progress.step + stepsPerEpoch - 1) / stepsPerEpoch
    if found.running.top1Share > progress.bestTop1 {
      (progress.bestTop1, progress.bestEpoch) = (found.running.top1Share, epoch)
    }
    let state = progress
    try setup.agreement.run {
      guard setup.group.rank == 0 else { return }
      try file.write(training, state, description: description)
    }
    let images = Double(sums.steps * options.batchSize)
    setup.say(
      "epoch \(epoch)/\(Int(options.epochs.rounded(.up)))  loss "
        + EvaluationClock.rounded(sums.loss / Double(sums.steps), digits: 4)
        + "  top-1 training \(EvaluationClock.rounded(Double(sums.correct) / images, digits: 4))"
        + " validation \(EvaluationClock.rounded(found.running.top1Share, digits: 4))"
        + "  ETA \(clock.left(at: progress.step))")
  }

  private func learningRate(at step: Int, _ total: Int) -> Double {
    if case .attentive = setup.request.recipe {
      return WarmupCosineSchedule(
        peak: options.learningRate, minimum: 1e-6,
        warmupSteps: Int(options.warmupEpochs * Double(stepsPerEpoch)), totalSteps: total
      ).value(at: step)
    }
    return EpochSchedule(
      peak: options.learningRate, warmupEpochs: options.warmupEpochs, epochs: options.epochs
    ).value(at: Double(step) / Double(stepsPerEpoch))
  }

  // MARK: - Data

  private func makeSource(from step: Int, total: Int) throws -> any ProbeSource {
    let (rank, batch) = (setup.group.rank, options.batchSize)
    let part = batch / setup.group.worldSize
    let images = setup.train
    // In memory, the place of an image does not matter; on disk, neighbours are read together.
    let isStored = options.views != .fresh
    let sampler = DistributedSampler(
      count: images.count, seed: UInt64(options.seed),
      windowSize: isStored ? 1 : images.index.windowSize())
    let samples: @Sendable (Int) -> [SampleKey]? = { step in
      guard step < total else { return nil }
      return sampler.samples(
        step: step, microBatch: rank, microBatchSize: part, globalBatchSize: batch)
    }
    guard isStored else {
      return try setup.agreement.run {
        try FreshProbeSource(
          setup.encoder, setup.request.kind, images, transform: setup.trainTransform(options.views),
          options: setup.loaderOptions(seed: options.seed), batch: part, from: step,
          samples: samples)
      }
    }
    let pictures = if case .fixed(let count) = options.views { count } else { 1 }
    let store = try setup.store(
      images, pictures: pictures, transform: setup.trainTransform(options.views),
      seed: options.seed, name: "training")
    return StoredProbeSource(store, from: step) { samples($0) ?? [] }
  }

  private func validate() throws -> Validation {
    let classes = setup.train.classes
    var found = Validation(running: Accuracy(classes: classes), batch: Accuracy(classes: classes))
    try setup.agreement.run {
      try setup.forEachValidationBatch { features, labels in
        found.running.add(logits: training.logits(features, .running), labels: labels)
        found.batch.add(logits: training.logits(features, .batch), labels: labels)
      }
    }
    return Validation(
      running: try found.running.summed(setup.group), batch: try found.batch.summed(setup.group))
  }

  // MARK: - The head's file

  private func resumes() throws -> Bool {
    try setup.group.allReduceMaximum([setup.group.rank == 0 && Files.exists(file.path) ? 1 : 0])[0]
      > 0
  }

  /// The first rank reads, all get it.
  private func load(
    _ file: ProbeFile, description: String?
  ) throws -> ProbeFile.Progress? {
    let group = setup.group
    let own = try setup.agreement.run {
      group.rank == 0 ? try file.read(into: training, description: description) : nil
    }
    let mine = own.map {
      [1, Double($0.step), Double($0.totalSteps), $0.bestTop1, Double($0.bestEpoch)]
    }
    let all = try group.allReduceMaximum(mine ?? [0, 0, 0, 0, 0])
    guard all[0] == 1 else { return nil }
    let norm = training.head.norm
    let buffers = [training.parameters, training.optimizer.momentum].map { $0.memory(0..<$0.count) }
    let statistics = [norm.runningMean, norm.runningVariance].map {
      UnsafeMutableBufferPointer(start: $0.pointer, count: $0.count)
    }
    for buffer in buffers + statistics {
      try group.broadcast(UnsafeMutableRawBufferPointer(buffer), root: 0)
    }
    return ProbeFile.Progress(
      step: Int(all[1]), totalSteps: Int(all[2]), bestTop1: all[3], bestEpoch: Int(all[4]))
  }
}
