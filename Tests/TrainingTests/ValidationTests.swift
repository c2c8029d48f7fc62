import Interfaces
import Models
import Testing

@testable import Training

/// Every sentence of `TrainingConfiguration.validate` has a case here.
@Suite struct ValidationTests {
  @Test(arguments: [
    ("model.imageSize=0", "model.imageSize: must be at least 1, not 0"),
    ("model.patchSize=0", "model.patchSize: must be at least 1, not 0"),
    ("model.channels=0", "model.channels: must be at least 1, not 0"),
    ("model.embedDim=-4", "model.embedDim: must be at least 1, not -4"),
    ("model.depth=0", "model.depth: must be at least 1, not 0"),
    ("model.numHeads=0", "model.numHeads: must be at least 1, not 0"),
    (
      "model.patchSize=15",
      "model.patchSize: 224 x 224 images do not divide into patches of 15"
    ),
    ("model.embedDim=770", "model.embedDim: 770 is not divisible by 4"),
    ("model.numHeads=7", "model.numHeads: 7 heads do not divide a width of 768"),
    ("model.mlpRatio=0", "model.mlpRatio: "),
    ("model.mlpRatio=-1", "model.mlpRatio: "),
    ("model.layerScaleInit=-0.1", "model.layerScaleInit: must not be negative"),
    ("model.dropPathRate=1", "model.dropPathRate: must be in [0, 1), not 1.0"),
    ("model.dropPathRate=-0.1", "model.dropPathRate: must be in [0, 1), not -0.1"),
  ])
  func model(override: String, sentence: String) {
    #expect(refusal(set: [override]).hasPrefix(sentence))
  }

  @Test(arguments: [
    ("data.train=[]", "data.train: names no shards; pack some with cae-dist data pack"),
    ("data.cropScale=[0.5]", "data.cropScale: must be [smallest, largest]"),
    ("data.cropScale=[0, 1]", "data.cropScale: must be [smallest, largest]"),
    ("data.cropScale=[0.9, 0.5]", "data.cropScale: must be [smallest, largest]"),
    ("data.cropScale=[0.9, 1.1]", "data.cropScale: must be [smallest, largest]"),
    ("data.cropScale=[.nan, 1]", "data.cropScale: must be [smallest, largest]"),
    ("data.cropAspect=[1, 2, 3]", "data.cropAspect: must be [smallest, largest]"),
    ("data.cropAspect=[-1, 1]", "data.cropAspect: must be [smallest, largest]"),
    ("data.cropAspect=[1, 101]", "data.cropAspect: must be [smallest, largest]"),
    ("data.flipProbability=1.5", "data.flipProbability: must be in [0, 1]"),
    ("data.flipProbability=-1", "data.flipProbability: must be in [0, 1]"),
    ("data.colorJitter=-0.1", "data.colorJitter: must be in [0, 1], not -0.1"),
    ("data.colorJitter=1.1", "data.colorJitter: must be in [0, 1], not 1.1"),
    ("data.validationCropShare=0", "data.validationCropShare: must be in [0.01, 1], not 0.0"),
    ("data.validationCropShare=1.5", "data.validationCropShare: must be in [0.01, 1], not 1.5"),
    ("data.mean=[0.5]", "data.mean: has 1 values for 3 channels"),
    ("data.standardDeviation=[]", "data.standardDeviation: has 0 values for 3 channels"),
    ("data.standardDeviation=[1, 0, 1]", "data.standardDeviation: must be above 0"),
  ])
  func data(override: String, sentence: String) {
    #expect(refusal(set: [override]).hasPrefix(sentence))
  }

  @Test func colorJitterNeedsGrayOrColors() {
    #expect(
      refusal(set: ["data.colorJitter=0.4", "model.channels=2"])
        == "data.colorJitter: needs images of 1 or 3 channels, not 2")
  }

  /// Keys with the largest value that is too small.
  @Test(arguments: [
    ("schedule.warmupEpochs", -0.5), ("parallelism.globalBatchSize", 0),
    ("parallelism.microBatchSize", 0), ("parallelism.bucketBytes", 3),
    ("parallelism.prefetchBatches", 0), ("parallelism.compareEverySteps", -1),
    ("checkpoint.everySteps", -1), ("checkpoint.keepLast", 0), ("logging.everySteps", 0),
    ("logging.validateEverySteps", -1), ("logging.validationBatches", 0),
    ("optimizer.learningRate", -1e-9), ("optimizer.minimumLearningRate", -1),
    ("optimizer.weightDecay", -1), ("optimizer.clipNorm", -1), ("run.seed", -1),
  ])
  func limits(key: String, value: Double) {
    let text = value == value.rounded() ? "\(Int(value))" : "\(value)"
    let sentence = refusal(set: ["\(key)=\(text)"])
    #expect(sentence.hasPrefix("\(key): must be at least "))
    #expect(sentence.hasSuffix(", not \(value)"))
  }

  @Test(arguments: [
    ("schedule.epochs=0", "schedule.epochs: must be above 0, not 0.0"),
    ("schedule.epochs=-1", "schedule.epochs: must be above 0, not -1.0"),
    ("schedule.epochs=.nan", "schedule.epochs: must be above 0, not nan"),
    ("optimizer.beta1=1", "optimizer.beta1: must be in [0, 1), not 1.0"),
    ("optimizer.beta2=-0.1", "optimizer.beta2: must be in [0, 1), not -0.1"),
    ("optimizer.learningRate=.nan", "optimizer.learningRate: must be at least 0.0, not nan"),
    (
      "parallelism.microBatchSize=100",
      "parallelism.microBatchSize: 100 does not divide the global batch of 2048"
    ),
    (
      "parallelism.threadsPerRank=0",
      "parallelism.threadsPerRank: must be auto or a number from 1 to 64, not 0"
    ),
    ("parallelism.threadsPerRank=65", "parallelism.threadsPerRank: must be auto or a number"),
    ("parallelism.threadsPerRank=many", "parallelism.threadsPerRank: must be auto or a number"),
  ])
  func numbers(override: String, sentence: String) {
    #expect(refusal(set: [override]).hasPrefix(sentence))
  }

  @Test(arguments: ["optimizer.epsilon=0", "optimizer.epsilon=-1"])
  func epsilonKeepsTheUpdateFinite(override: String) {
    #expect(refusal(set: [override]).hasPrefix("optimizer.epsilon: "))
  }

  /// Values that no step count, no width and no rate can be made of.
  @Test(arguments: [
    "schedule.epochs=.inf", "schedule.epochs=1e300", "schedule.warmupEpochs=.inf",
    "optimizer.learningRate=.inf", "model.mlpRatio=0.0001", "model.mlpRatio=.inf",
    "data.mean=[.nan, 0, 0]", "data.standardDeviation=[.inf, 1, 1]",
  ])
  func absurdNumbersAreRefusedByKey(override: String) {
    let key = override.prefix { $0 != "=" }
    #expect(refusal(set: [override]).hasPrefix("\(key): "))
  }

  // MARK: Ranks and the batch

  @Test(arguments: [(1, 128), (2, 64), (4, 32), (128, 1)])
  func accumulation(worldSize: Int, steps: Int) throws {
    #expect(try TrainingConfiguration().accumulationSteps(worldSize: worldSize) == steps)
  }

  @Test(arguments: [3, 5, 256])
  func ranksMustDivideTheMicroBatches(worldSize: Int) {
    let error = #expect(throws: ConfigurationError.self) {
      try TrainingConfiguration().accumulationSteps(worldSize: worldSize)
    }
    #expect(
      error?.description == "parallelism.globalBatchSize: 2048 is 128 micro-batches of 16, which "
        + "\(worldSize) ranks do not divide; use 1, 2, 4, 8, 16, 32, 64, 128 ranks, or change the "
        + "batch")
  }

  @Test(arguments: [(1, 1), (3, 2), (127, 64), (128, 128), (1000, 128)])
  func mostRanksOf128MicroBatches(limit: Int, ranks: Int) {
    #expect(TrainingConfiguration().largestWorldSize(upTo: limit) == ranks)
  }

  // MARK: Resuming

  @Test(arguments: [
    "schedule.epochs=7", "schedule.warmupEpochs=1", "logging.everySteps=3",
    "checkpoint.everySteps=5", "checkpoint.keepLast=9", "parallelism.microBatchSize=8",
    "parallelism.threadsPerRank=2", "parallelism.bucketBytes=4096", "run.output=elsewhere",
    "parallelism.prefetchBatches=5", "optimizer.learningRate=0.1",
  ])
  func mayChangeOnResume(override: String) throws {
    let saved = try resolve().yaml
    #expect(throws: Never.self) {
      try resolve(set: [override]).requireResumable(from: saved, path: "step-1")
    }
  }

  @Test(arguments: [
    ("model.depth=3", "model.depth: is 3 here but 12 in step-1"),
    ("model.mlpRatio=2", "model.mlpRatio: is 2 here but 4 in step-1"),
    ("method.mask=random", "method.mask: is random here but block in step-1"),
    ("method.alignmentWeight=1", "method.alignmentWeight: is 1 here but 2 in step-1"),
    ("data.train=[other]", "data.train: is [other] here but [shards] in step-1"),
    ("data.flipProbability=0", "data.flipProbability: is 0 here but 0.5 in step-1"),
    ("data.cropScale=[0.5, 1]", "data.cropScale: is [0.5, 1] here but [0.08, 1] in step-1"),
    ("parallelism.globalBatchSize=64", "parallelism.globalBatchSize: is 64 here but 2048 in"),
    ("run.seed=5", "run.seed: is 5 here but 0 in step-1, and cannot change on resume; use another"),
  ])
  func mayNotChangeOnResume(override: String, sentence: String) throws {
    let saved = try resolve().yaml
    let error = #expect(throws: ConfigurationError.self) {
      try resolve(set: [override]).requireResumable(from: saved, path: "step-1")
    }
    #expect(error?.description.hasPrefix(sentence) == true)
  }

  @Test(arguments: [
    ("data.flipProbability=0.5", "data.flipProbability=0.500"),
    ("data.flipProbability=0.1", "data.flipProbability=1e-1"),
    ("model.mlpRatio=4", "model.mlpRatio=4.0"),
    ("run.seed=16", "run.seed=0x10"),
    ("data.cropScale=[0.6, 1]", "data.cropScale=[0.60, 1.0]"),
    ("data.mean=[0.5, 0.5, 0.5]", "data.mean=[5e-1, 0.50, 0.5]"),
  ])
  func spellingOfNumbersIsNoDifference(one: String, other: String) throws {
    let saved = try resolve(set: [one]).yaml
    #expect(throws: Never.self) {
      try resolve(set: [other]).requireResumable(from: saved, path: "step-1")
    }
  }
}
