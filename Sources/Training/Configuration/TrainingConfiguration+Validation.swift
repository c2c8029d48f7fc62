import DataParallel
public import Interfaces
import Models
import NN

extension TrainingConfiguration {
  /// - Throws: A sentence for the first value that no run can have.
  public func validate() throws(ConfigurationError) {
    try model.validate()
    try validateData()
    try validateNumbers()
    _ = try TimeLimit.seconds(of: run.timeLimit, key: "run.timeLimit")
    _ = try TraceSteps.parse(run.trace)
    guard parallelism.globalBatchSize % parallelism.microBatchSize == 0 else {
      throw ConfigurationError(
        "parallelism.microBatchSize",
        "\(parallelism.microBatchSize) does not divide the global batch of "
          + "\(parallelism.globalBatchSize)")
    }
    try validateDeterminism()
    try validateEvaluation()
    for (name, setting) in [
      ("threadsPerRank", parallelism.threadsPerRank), ("loaderThreads", parallelism.loaderThreads),
    ] where setting != "auto" {
      guard let threads = Int(setting), (1...64).contains(threads) else {
        throw ConfigurationError(
          "parallelism.\(name)", "must be auto or a number from 1 to 64, not \(setting)")
      }
    }
  }

  private func validateEvaluation() throws(ConfigurationError) {
    guard evaluation.features != .tokens else {
      throw ConfigurationError("evaluation.features", "must be class or mean, not tokens")
    }
    guard evaluation.everySteps == 0 || !data.validation.isEmpty else {
      throw ConfigurationError(
        "evaluation.everySteps",
        "needs labelled shards in data.validation; name some, or set it to 0")
    }
  }

  private func validateDeterminism() throws(ConfigurationError) {
    guard parallelism.deterministic else { return }
    let obstacle: String? =
      parallelism.threadsPerRank == "auto"
      ? "parallelism.threadsPerRank to be a number"
      : parallelism.gradientExchange == .mpi
        ? "parallelism.gradientExchange to be hierarchical"
        : parallelism.wire == .bfloat16 ? "parallelism.wire to be float32" : nil
    if let obstacle { throw ConfigurationError("parallelism.deterministic", "needs \(obstacle)") }
  }

  private func validateData() throws(ConfigurationError) {
    guard !data.train.isEmpty else {
      throw ConfigurationError("data.train", "names no shards; pack some with cae-dist data pack")
    }
    for (name, range, limit) in [
      ("cropScale", data.cropScale, 1.0), ("cropAspect", data.cropAspect, 100.0),
    ] {
      guard range.count == 2, range[0] > 0, range[0] <= range[1], range[1] <= limit else {
        throw ConfigurationError(
          "data.\(name)", "must be [smallest, largest] above 0 and at most \(limit), not \(range)")
      }
    }
    guard data.targets.isEmpty || data.fixedViews > 0 else {
      throw ConfigurationError(
        "data.fixedViews",
        "must be the number of pictures of each image whose targets are in data.targets, not 0")
    }
    guard data.targets.isEmpty || data.validation.isEmpty || logging.validateEverySteps == 0 else {
      throw ConfigurationError(
        "logging.validateEverySteps", "must be 0 with data.targets, which are of data.train only")
    }
    guard (0...1).contains(data.flipProbability) else {
      throw ConfigurationError("data.flipProbability", "must be in [0, 1]")
    }
    try validateColorsAndCrop()
    for (name, values) in [("mean", data.mean), ("standardDeviation", data.standardDeviation)]
    where values.count != model.channels {
      throw ConfigurationError(
        "data.\(name)", "has \(values.count) values for \(model.channels) channels")
    }
    guard data.standardDeviation.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      throw ConfigurationError("data.standardDeviation", "must be above 0")
    }
    guard data.mean.allSatisfy(\.isFinite) else {
      throw ConfigurationError("data.mean", "must be numbers, not \(data.mean)")
    }
  }

  private func validateColorsAndCrop() throws(ConfigurationError) {
    for (name, value, limit) in [
      ("colorJitter", data.colorJitter, 1.0), ("randAugment", data.randAugment, 10),
      ("randomErasing", data.randomErasing, 1),
    ] where !(0...limit).contains(value) {
      throw ConfigurationError("data.\(name)", "must be in [0, \(Int(limit))], not \(value)")
    }
    for (name, value) in [("colorJitter", data.colorJitter), ("randAugment", data.randAugment)]
    where value > 0 && model.channels != 1 && model.channels != 3 {
      throw ConfigurationError(
        "data.\(name)", "needs images of 1 or 3 channels, not \(model.channels)")
    }
    // A hundredth: beyond, images would be resized to sizes that no memory holds.
    guard (0.01...1).contains(data.validationCropShare) else {
      throw ConfigurationError(
        "data.validationCropShare", "must be in [0.01, 1], not \(data.validationCropShare)")
    }
  }

  private func validateNumbers() throws(ConfigurationError) {
    let atLeast: [(String, Double, Double)] = [
      ("schedule.warmupEpochs", schedule.warmupEpochs, 0),
      ("parallelism.globalBatchSize", Double(parallelism.globalBatchSize), 1),
      ("parallelism.microBatchSize", Double(parallelism.microBatchSize), 1),
      ("parallelism.bucketBytes", Double(parallelism.bucketBytes), 4),
      ("parallelism.prefetchBatches", Double(parallelism.prefetchBatches), 1),
      ("data.fixedViews", Double(data.fixedViews), 0),
      ("data.trainImages", Double(data.trainImages), 0),
      ("parallelism.compareEverySteps", Double(parallelism.compareEverySteps), 0),
      ("parallelism.stallTimeoutSeconds", parallelism.stallTimeoutSeconds, 0),
      ("guards.outlierZScore", guards.outlierZScore, 0),
      ("guards.outlierWindow", Double(guards.outlierWindow), 8),
      ("checkpoint.everySteps", Double(checkpoint.everySteps), 0),
      ("checkpoint.keepLast", Double(checkpoint.keepLast), 1),
      ("checkpoint.keepEvery", Double(checkpoint.keepEvery), 0),
      ("logging.everySteps", Double(logging.everySteps), 1),
      ("logging.validateEverySteps", Double(logging.validateEverySteps), 0),
      ("logging.validationBatches", Double(logging.validationBatches), 1),
      ("evaluation.everySteps", Double(evaluation.everySteps), 0),
      ("evaluation.trainImages", Double(evaluation.trainImages), 1),
      ("evaluation.validationImages", Double(evaluation.validationImages), 1),
      ("optimizer.learningRate", optimizer.learningRate, 0),
      ("optimizer.minimumLearningRate", optimizer.minimumLearningRate, 0),
      ("optimizer.weightDecay", optimizer.weightDecay, 0),
      ("optimizer.clipNorm", optimizer.clipNorm, 0), ("run.seed", Double(run.seed), 0),
    ]
    for (name, value, limit) in atLeast where !(value >= limit) {
      throw ConfigurationError(name, "must be at least \(limit), not \(value)")
    }
    for (name, value, _) in atLeast where !value.isFinite {
      throw ConfigurationError(name, "must be a finite number, not \(value)")
    }
    guard schedule.epochs > 0 else {
      throw ConfigurationError("schedule.epochs", "must be above 0, not \(schedule.epochs)")
    }
    // So that a number of steps can be made of them.
    for (name, epochs) in [("epochs", schedule.epochs), ("warmupEpochs", schedule.warmupEpochs)]
    where epochs > 1e6 {
      throw ConfigurationError("schedule.\(name)", "must be at most a million, not \(epochs)")
    }
    guard optimizer.epsilon > 0, optimizer.epsilon.isFinite else {
      throw ConfigurationError("optimizer.epsilon", "must be above 0, not \(optimizer.epsilon)")
    }
    for (name, beta) in [("beta1", optimizer.beta1), ("beta2", optimizer.beta2)]
    where !(0..<1).contains(beta) {
      throw ConfigurationError("optimizer.\(name)", "must be in [0, 1), not \(beta)")
    }
  }
}
