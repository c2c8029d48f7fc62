import DataParallel
import Files
import Interfaces
import Models
import NN
import TensorCore
import TestSupport
import Testing

@testable import Training

/// `evaluate finetune` from a tiny run's encoder.
@Suite struct FineTuningTests {
  private let tiny: TinyRun
  private let run: String

  init() throws {
    tiny = try TinyRun()
    run = try tiny.finish { $0.output = "run" }.output
  }

  /// 96 images in batches of 24, micro-batches of 2 or 3 or 4 by the number of ranks.
  private func request(
    _ output: String, _ change: (inout FineTuning.Request) -> Void = { _ in }
  ) -> FineTuning.Request {
    var request = FineTuning.Request(checkpoint: run)
    (request.train, request.validation) = ([tiny.train], [tiny.validation])
    request.output = tiny.folder.file(output)
    (request.options.epochs, request.options.batchSize) = (3, 24)
    request.options.learningRate = 2e-3
    change(&request)
    return request
  }

  private struct Tuned {
    var code: ExitCode
    var result: EvaluationResult?
    var log: [String] = []
    /// Of the newest checkpoint.
    var hash: String?
  }

  private func tune(
    _ request: FineTuning.Request, ranks: Int = 1, stopAfter: Int = .max
  ) throws -> Tuned {
    let found = try ThreadProcessGroup.run(count: ranks) { group in
      var (result, log): (EvaluationResult?, [String]) = (nil, [])
      var job = TrainingJob(group) { log.append($0) }
      (job.showsProgress, job.stopAfter) = (false, stopAfter)
      let code = try FineTuning.run(job, { request }, report: { result = $0 })
      return (code, result, log)
    }
    let step = request.source == .pretrained ? TinyRun.totalSteps : 0
    let folder = CheckpointFolder("\(request.output ?? "")/\(request.name(step: step))")
    let hash = try folder.newest.map { try CheckpointSummary(path: $0).parametersHash }
    return Tuned(code: found[0].0, result: found[0].1, log: found[0].2, hash: hash)
  }

  private func failure(_ request: FineTuning.Request, ranks: Int = 1) -> String? {
    do { _ = try tune(request, ranks: ranks) } catch { return (error as? AgreedFailure)?.text }
    return nil
  }

  @Test func startsFromTheEncoder() throws {
    let wanted = request("first") {
      $0.options.overrides = [
        "optimizer.learningRate=0", "optimizer.minimumLearningRate=0",
      ]
    }
    let tuned = try tune(wanted, ranks: 2)
    #expect(
      tuned.log.contains { $0.contains("starting from the encoder of \(run)/step-00000012") })
    let folder = CheckpointFolder("\(wanted.output ?? "")/\(wanted.name(step: 12))")
    let (pretrained, own) = (
      try SavedModel(path: run), try SavedModel(path: try #require(folder.newest))
    )
    #expect(own.configuration.methodType.name == "supervised")
    var compared = 0
    for name in try own.state.names(in: "parameters") {
      guard let before = FineTuneModel.pretrainedName(of: name) else { continue }
      #expect(
        try own.tensor("parameters", name).values
          == pretrained.tensor("parameters", before).values, "\(name)")
      compared += 1
    }
    #expect(compared > 20)
  }

  @Test func learnsTheTrainingImages() throws {
    var losses: [[Double]] = []
    for source in [EncoderSource.pretrained, .untrained] {
      let wanted = request("learns-\(source)") {
        $0.source = source
        $0.options.epochs = 45
        $0.options.overrides = [
          "method.mixup=0", "method.cutMix=0", "method.labelSmoothing=0", "data.randAugment=0",
          "data.randomErasing=0", "data.cropScale=[1, 1]", "data.cropAspect=[1, 1]",
          "data.flipProbability=0", "optimizer.learningRate=0.01", "model.dropPathRate=0",
        ]
      }
      let tuned = try tune(wanted, ranks: 2)
      let result = try #require(tuned.result)
      #expect(tuned.code == .success && result.count == 40 && result.protocol == "finetune")
      #expect((result.bestTop1 ?? 0) >= result.top1)
      #expect(result.step == (source == .pretrained ? TinyRun.totalSteps : 0))
      let metrics = try MetricsLine.read("\(result.files)/metrics.jsonl")
      losses.append(metrics.compactMap { $0["loss"] })
      #expect(metrics.compactMap { $0["validationTop1"] }.count == 15)
    }
    for loss in losses {
      #expect(abs(loss[0] - 2.3026) < 0.01, "ten classes, a head of almost 0")
      #expect(loss[loss.count - 1] < loss[0] / 2)
    }
  }

  /// Mixing, RandAugment and erasing are draws of samples, whatever rank has them.
  @Test func theSameBitsOnAnyNumberOfRanks() throws {
    let hashes = try [1, 2, 4].map { ranks in
      try tune(
        request("ranks\(ranks)") {
          $0.options.batchSize = 16
          $0.options.overrides = [
            "parallelism.deterministic=true", "parallelism.microBatchSize=4",
          ]
        }, ranks: ranks
      ).hash
    }
    #expect(hashes[0] != nil && hashes[1] == hashes[0] && hashes[2] == hashes[0])
  }

  @Test func goesOnAfterAStop() throws {
    let whole = try tune(request("whole"))
    let part = try tune(request("parts"), stopAfter: 5)
    #expect(part.code == .checkpointed && part.result == nil)
    let rest = try tune(request("parts"))
    #expect(rest.log.contains { $0.contains("5 steps done") })
    #expect(rest.hash == whole.hash && rest.hash != part.hash)
    #expect(rest.result?.top1 == whole.result?.top1)
    #expect(rest.result?.bestTop1 == whole.result?.bestTop1)
  }

  /// Given again, the command judges what it has trained.
  @Test func aFinishedOneIsJudgedAlikeOnAnyNumberOfRanks() throws {
    let trained = try #require(try tune(request("done"), ranks: 2).result)
    for ranks in [1, 3, 8] {
      let again = try tune(request("done"), ranks: ranks)
      #expect(again.result?.top1 == trained.top1)
      #expect(again.result?.top5 == trained.top5)
    }
    let text = try Files.readText("\(trained.files)-confusion.csv")
    #expect(text.split(separator: "\n").count == 11)
  }

  @Test func aFewImages() throws {
    let wanted = request("few") {
      $0.options.trainImages = 24
      $0.options.epochs = 4
    }
    let result = try #require(try tune(wanted, ranks: 3).result)
    #expect(result.files.contains("finetune-24-images-step-00000012"))
    #expect(try MetricsLine.read("\(result.files)/metrics.jsonl").count == 4)
    #expect(result.recipe?.contains("24 training images") ?? false)
  }

  /// Nothing of another recipe, or of another encoder, is taken for this one's.
  @Test func anotherRecipeIsAnotherRun() throws {
    _ = try tune(request("one"))
    for change in ["optimizer.learningRate=0.5", "schedule.epochs=2"] {
      let sentence = failure(request("one") { $0.options.overrides = [change] })
      #expect(sentence?.hasPrefix(String(change.prefix { $0 != "=" }) + ": is ") ?? false)
      #expect(sentence?.contains("use another --output") ?? false)
    }
    let merged = tiny.folder.file("other.h5")
    _ = try CheckpointMerging.merge("\(run)/step-00000012", to: merged)
    let other = failure(request("one") { $0.checkpoint = merged })
    #expect(other?.hasPrefix("run.initializeFrom: is ") ?? false, "\(other ?? "")")
  }

  @Test func wrongRequestsAreNamed() {
    #expect(
      failure(request("wrong") { $0.source = .pixels })
        == "--encoder: must be pretrained or untrained, not pixels")
    #expect(
      failure(request("wrong") { $0.options.batchSize = 25 }, ranks: 2)?
        .contains("25 is no multiple of 2 ranks") ?? false)
    #expect(
      failure(request("wrong") { $0.options.epochs = .nan })
        == "--epochs: must be above 0 and at most a million, not nan")
    #expect(
      failure(request("wrong") { $0.options.trainImages = 0 })
        == "--train-images: must be at least 1, not 0")
    #expect(
      failure(request("wrong") { $0.options.batchSize = 10 }, ranks: 2)?
        .contains("micro-batches of one image") ?? false)
    #expect(
      failure(request("wrong") { $0.options.overrides = ["method.classes=7"] })?
        .contains("method.classes: is 7, but") ?? false)
    #expect(
      failure(request("wrong") { $0.options.overrides = ["method.layerDecay=2"] })
        == "method.layerDecay: must be in (0, 1], not 2.0")
    #expect(
      failure(request("wrong") { $0.checkpoint = tiny.train })?.contains("checkpoint") ?? false)
  }
}

/// What the method itself says of a configuration.
@Suite struct SupervisedTests {
  @Test(arguments: [
    ("classes: 1", "method.classes: must be at least 2, not 1"),
    ("layerDecay: 0", "method.layerDecay: must be in (0, 1], not 0.0"),
    ("mixup: -1", "method.mixup: must be in [0, 4], not -1.0"),
    ("labelSmoothing: 1", "method.labelSmoothing: must be in [0, 1), not 1.0"),
  ])
  func wrongValues(setting: String, sentence: String) throws {
    let tiny = try TinyRun()
    let failure = try tiny.failure {
      $0.yaml = tiny.yaml(
        method: "{ name: supervised, classes: 10, \(setting) }".replacing(
          "classes: 10, classes", with: "classes"))
    }
    #expect(failure?.text == sentence)
  }

  /// From scratch, by the ordinary verb.
  @Test func trainsAsAnyMethod() throws {
    let tiny = try TinyRun()
    let finished = try tiny.finish {
      $0.yaml = tiny.yaml(method: "{ name: supervised, classes: 10 }")
      $0.ranks = 2
      $0.set = [
        "data.validation=[\"\(tiny.validation)\"]", "evaluation.everySteps=6",
        "logging.validateEverySteps=6", "data.randAugment=9", "data.randomErasing=0.25",
      ]
    }
    let metrics = try finished.metrics()
    #expect(metrics.filter { $0["validationTop1"] != nil }.map(\.step) == [6, 12])
    #expect(metrics.last?["validationLossClassification"] != nil)
    #expect(metrics.allSatisfy { ($0["loss"] ?? .nan).isFinite })
    #expect(metrics.last?["validationAccuracy"] != nil)
  }
}
