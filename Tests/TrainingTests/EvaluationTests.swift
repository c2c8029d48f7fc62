import Artifacts
import DataParallel
import Files
import Foundation
import Interfaces
import TensorCore
import TestSupport
import Testing

@testable import Training

/// Evaluations of a tiny run's encoder on any number of ranks.
@Suite struct EvaluationTests {
  private let tiny: TinyRun
  private let run: String

  init() throws {
    tiny = try TinyRun()
    run = try tiny.finish { $0.output = "run" }.output
  }

  private func request(
    _ recipe: EvaluationRequest.Recipe, output: String
  ) -> EvaluationRequest {
    var request = EvaluationRequest(recipe, checkpoint: run)
    (request.train, request.validation) = ([tiny.train], [tiny.validation])
    request.output = tiny.folder.file(output)
    return request
  }

  private func evaluate(
    _ request: EvaluationRequest, ranks: Int = 1
  ) throws -> (result: EvaluationResult, log: [String]) {
    let found = try ThreadProcessGroup.run(count: ranks) { group in
      var (result, log): (EvaluationResult?, [String]) = (nil, [])
      try Evaluation.run(group, { request }, log: { log.append($0) }, report: { result = $0 })
      return (result, log)
    }
    let first = found[0]
    return (try #require(first.0), first.1)
  }

  private var linear: ProbeOptions {
    var options = ProbeOptions(
      epochs: 6, warmupEpochs: 1, batchSize: 24, learningRate: 3)
    options.views = .plain
    return options
  }

  private var attentive: ProbeOptions {
    var options = ProbeOptions(epochs: 4, warmupEpochs: 1, batchSize: 24, learningRate: 0.05)
    options.views = .plain
    return options
  }

  @Test(arguments: [EncoderSource.pretrained, .untrained, .pixels])
  func neighboursOnAnyNumberOfRanks(source: EncoderSource) throws {
    let results = try [1, 2, 3].map { ranks in
      var wanted = request(.nearestNeighbours(count: 5), output: "knn\(ranks)")
      wanted.source = source
      return try evaluate(wanted, ranks: ranks).result
    }
    for result in results {
      #expect(result.count == 40)
      #expect(result.top1 == results[0].top1)
      #expect(result.centredTop1 == results[0].centredTop1)
      #expect(result.top5 >= result.top1)
    }
    #expect(results[0].step == (source == .pretrained ? TinyRun.totalSteps : 0))
    // Gratings of ten directions.
    if source == .pixels { #expect(results[0].top1 > 0.2) }
  }

  @Test func trainedAndUntrainedEncodersDiffer() throws {
    let top = try [EncoderSource.pretrained, .untrained].map { source in
      let path = tiny.folder.file("\(source).h5")
      try ThreadProcessGroup.run(count: 2) { group in
        var wanted = FeatureExtraction.Request(
          checkpoint: run, images: [tiny.validation], output: path)
        wanted.source = source
        try FeatureExtraction.run(group, { wanted }, log: { _ in })
      }
      return try ArtifactReader(path: path).tensor("features").values
    }
    #expect(top[0].count == 40 * 16)
    #expect(largestDifference(top[0], top[1]) > 0.01)
  }

  @Test func featuresAreTheSameBitsOnAnyNumberOfRanks() throws {
    let all = try [1, 3].map { ranks in
      let path = tiny.folder.file("features\(ranks).h5")
      try ThreadProcessGroup.run(count: ranks) { group in
        var wanted = FeatureExtraction.Request(
          checkpoint: run, images: [tiny.train], output: path)
        wanted.features = .tokens
        try FeatureExtraction.run(group, { wanted }, log: { _ in })
      }
      return try ArtifactReader(path: path)
    }
    let features = try all.map { try $0.tensor("features").values }
    #expect(features[0].count == TinyRun.imageCount * 17 * 16)
    #expect(sameBits(features[0], features[1]))
    let labels = try all.map { try $0.integers("labels").values }
    #expect(labels[0] == labels[1])
    #expect(labels[0].sorted() == (0..<TinyRun.imageCount).map { Int64($0 % 10) }.sorted())
  }

  @Test func linearProbeLearns() throws {
    // A rate adapted to the layer moves the weights by a thousandth of it in a step.
    var options = linear
    options.epochs = 150
    let (result, log) = try evaluate(request(.linear(options), output: "linear"), ranks: 2)
    #expect(result.count == 40)
    let losses = log.compactMap { line -> Double? in
      let words = line.split(separator: " ")
      return words.firstIndex(of: "loss").flatMap { Double(words[$0 + 1]) }
    }
    #expect(losses.count == 150)
    #expect((losses.last ?? 9) < (losses.first ?? 0) - 0.1)
    #expect((result.bestTop1 ?? 0) >= result.top1)
    let table = try Files.readText(result.files + "-confusion.csv").split(separator: "\n")
    #expect(table.count == 11)
    let counts = table.dropFirst().flatMap { line in
      line.split(separator: ",").dropFirst().compactMap { Int($0) }
    }
    #expect(counts.reduce(0, +) == 40)
  }

  /// With statistics over all ranks a probe sees the same whatever their number: what differs is the
  /// order of sums.
  @Test func probesOnSeveralRanksAreCloseToOne() throws {
    for recipe in [EvaluationRequest.Recipe.linear(linear), .attentive(attentive)] {
      let results = try [1, 3].map { ranks in
        try evaluate(request(recipe, output: "\(recipe.name)\(ranks)"), ranks: ranks)
      }
      let losses = results.map { $0.log.filter { $0.hasPrefix("epoch ") } }
      #expect(losses[0].count == losses[1].count)
      #expect(abs(results[0].result.top1 - results[1].result.top1) <= 0.05)
    }
  }

  @Test func aSavedHeadGivesTheSameOnAnyNumberOfRanks() throws {
    let trained = try evaluate(request(.attentive(attentive), output: "trained"), ranks: 2).result
    for ranks in [1, 3, 8] {
      var wanted = request(.attentive(attentive), output: "again\(ranks)")
      wanted.head = trained.files + ".h5"
      wanted.recipe = .attentive(.attentive)
      let result = try evaluate(wanted, ranks: ranks).result
      #expect(result.top1 == trained.top1)
      #expect(result.top5 == trained.top5)
      #expect(result.batchStatisticsTop1 == trained.batchStatisticsTop1)
    }
  }

  /// A head that was saved in the middle ends with the bits of an uninterrupted one.
  @Test func anInterruptedProbeGoesOn() throws {
    let whole = try evaluate(request(.linear(linear), output: "whole")).result
    let wanted = request(.linear(linear), output: "parts")
    try Files.makeDirectory(tiny.folder.file("parts"))
    _ = try ThreadProcessGroup.run(count: 1) { group in
      let setup = try EvaluationSetup(wanted, group, log: { _ in })
      try setup.prepareValidation()
      let file = tiny.folder.file("parts/\(wanted.name(step: setup.encoder.step)).h5")
      _ = try ProbeEvaluation(setup, linear, file: file).run(stopAfter: 3)
    }
    let (rest, log) = try evaluate(wanted)
    #expect(log.contains { $0.hasPrefix("goes on after step 12 of 24") })
    let heads = try [whole, rest].map { try ArtifactReader(path: $0.files + ".h5") }
    for name in ["parameters/head.weight", "norm/runningVariance", "momentum/head.weight"] {
      #expect(try sameBits(heads[0].tensor(name).values, heads[1].tensor(name).values))
    }
    #expect(rest.bestTop1 == whole.bestTop1)
  }

  @Test(arguments: [
    ("views", "must be fresh, plain or a number"), ("batch", "is no multiple of"),
    ("large", "is more than there are training images"),
  ])
  func wrongOptionsAreNamed(kind: String, words: String) throws {
    var options = linear
    if kind == "batch" { options.batchSize = 25 }
    if kind == "large" { options.batchSize = 200 }
    let wanted = request(.linear(options), output: "wrong")
    let failures = ThreadProcessGroup.run(count: 2) { group -> AgreedFailure? in
      do {
        try Evaluation.run(
          group,
          {
            if kind == "views" { _ = try ProbeViews("0") }
            return wanted
          }, log: { _ in }, report: { _ in })
      } catch { return error as? AgreedFailure }
      return nil
    }
    for failure in failures {
      #expect(failure?.code == .badInput)
      #expect(failure?.text.contains(words) ?? false || failure?.isMine == false)
    }
  }

  /// Fresh pictures and fixed ones go through the same loader as in training.
  @Test(arguments: [ProbeViews.fresh, .fixed(2)])
  func randomPictures(views: ProbeViews) throws {
    var options = linear
    (options.epochs, options.views) = (2, views)
    let result = try evaluate(request(.linear(options), output: "\(views)"), ranks: 2).result
    #expect(result.count == 40)
  }

  @Test func trainingLogsNeighbours() throws {
    let finished = try tiny.finish {
      ($0.output, $0.ranks) = ("online", 2)
      $0.set = [
        "data.validation=[\"\(tiny.validation)\"]", "evaluation.everySteps=6",
        "evaluation.trainImages=50",
      ]
    }
    let metrics = try finished.metrics()
    #expect(metrics.filter { $0["knnTop1"] != nil }.map(\.step) == [6, 12])
    let last = try #require(metrics.last?["knnTop5"])
    #expect((0...1).contains(last))
  }
}
