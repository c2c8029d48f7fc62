import Artifacts
import DataParallel
import Files
import Interfaces
import Models
import ShardedData
import TensorCore
import TestSupport
import Testing

@testable import Training

/// A teacher's features, computed beforehand or as codes, and runs that use them.
@Suite struct FeatureTargetTests {
  private let tiny: TinyRun
  private let teacher: String

  /// 48 colour images of 16 x 16 pixels; the teacher's file is a copy that may be removed.
  init() throws {
    tiny = try TinyRun()
    teacher = tiny.folder.file("teacher.h5")
    try Files.write(try Files.read(GoldenFile.path("efficientnet-lite.h5")), to: teacher)
    var options = PackOptions(format: .raw(size: nil, channels: 3))
    options.shardSize = 20
    let images = SyntheticImages(
      count: 48, imageShape: ImageShape(height: 16, width: 16, channels: 3), seed: 1)
    _ = try ShardPacker(
      images, to: tiny.folder.file("colour"), name: "images", options: options
    ).packAll()
  }

  private var version2: String {
    tiny.yaml(
      method: """
        {
          name: cae-v2, mask: random, numMaskedPatches: 8, decoderDim: 16, decoderHeads: 2,
          regressorDepth: 1, teacher: "\(teacher)" }
        """)
  }

  private let colours = [
    "model.channels=3", "data.mean=[0.5, 0.5, 0.5]", "data.standardDeviation=[0.25, 0.25, 0.25]",
    "data.fixedViews=2",
  ]

  private var set: [String] { colours + ["data.train=[\"\(tiny.folder.file("colour"))\"]"] }

  private func targets(_ folder: String) -> String {
    "data.targets=\"\(tiny.folder.file(folder))\""
  }

  private func encode(
    _ yaml: String? = nil, ranks: Int = 1, set more: [String] = [], to folder: String
  ) throws {
    let codes = try ThreadProcessGroup.run(count: ranks) { group in
      try TargetEncoding.run(group, output: tiny.folder.file(folder)) {
        try tiny.resolve(TinyRun.Options(set: set + more, yaml: yaml))
      }
    }
    #expect(codes == [ExitCode](repeating: .success, count: ranks))
  }

  private func train(
    _ output: String, _ yaml: String?, ranks: Int = 1, _ more: [String] = []
  ) throws -> RunOutcome {
    try tiny.finish {
      ($0.output, $0.yaml, $0.ranks) = (output, yaml, ranks)
      $0.set = set + more
    }
  }

  /// Two epochs of fixed pictures: the same bits, whether features are computed or read.
  @Test func aRunWithFeaturesIsTheRunThatComputesThem() throws {
    try encode(version2, to: "features")
    let computed = try train("a", version2)
    // The teacher is not needed any more.
    try Files.remove(teacher)
    let read = try train("b", version2, [targets("features"), "method.teacher=\"\""])
    #expect(try computed.metrics() == read.metrics())
    #expect(try computed.hash() == read.hash())
    let four = try train(
      "c", version2, ranks: 4,
      [targets("features"), "method.teacher=\"\"", "parallelism.deterministic=true"])
    let one = try train(
      "d", version2,
      [targets("features"), "method.teacher=\"\"", "parallelism.deterministic=true"])
    #expect(try four.hash() == one.hash())
  }

  @Test func aTeacherWithoutFiniteFeaturesIsNamed() throws {
    let reader = try ArtifactReader(path: teacher)
    try ArtifactWriter.write(
      to: tiny.folder.file("broken.h5"),
      tensors: try reader.names.filter { $0.hasPrefix("_") }.map { name in
        let tensor = try reader.tensor(name)
        if name == "_bn0.bias" { tensor.pointer[0] = .nan }
        return (name, tensor)
      }, attributes: [])
    let broken = "method.teacher=\"\(tiny.folder.file("broken.h5"))\""
    let error = #expect(throws: (any Error).self) {
      try encode(version2, set: [broken], to: "none")
    }
    #expect("\(try #require(error))".contains("broken.h5"))
    #expect("\(try #require(error))".contains("makes features that are not finite of sample 0"))
  }

  @Test func featuresDoNotDependOnTheRanks() throws {
    func files(_ folder: String) throws -> [[UInt8]] {
      try Files.list(tiny.folder.file(folder)).map {
        try Files.read("\(tiny.folder.file(folder))/\($0)")
      }
    }
    try encode(version2, to: "one")
    try encode(version2, ranks: 3, to: "three")
    #expect(try files("one").count == 3)
    #expect(try files("one") == files("three"))
    guard case .features(let summary) = try TokenizerSummary(path: tiny.folder.file("one")) else {
      Issue.record("no features")
      return
    }
    #expect((summary.images, summary.views, summary.grid, summary.shards) == (48, 2, 4, 3))
    #expect(summary.teacher.hasPrefix("teacher.h5 (") && summary.missingShards == 0)
    #expect(summary.text.hasPrefix("48 images x 2 pictures of 1 + 4 x 4 features of "))
  }

  /// The token route of version 1 with codes of the same teacher; the tokenizer holds the teacher.
  @Test func codesOfFeaturesAreTokens() throws {
    func fit(ranks: Int, _ name: String) throws -> String {
      let path = tiny.folder.file(name)
      _ = try ThreadProcessGroup.run(count: ranks) { group in
        let outcome = try TokenizerFit(
          try tiny.resolve(TinyRun.Options(set: set)).training,
          TokenizerFit.Options(vocabularySize: 12, iterations: 3, teacher: teacher), group: group,
          cores: ranks
        ).run { _, _ in }
        if group.rank == 0 {
          try TokenizerFile.write(
            outcome.tokenizer, shares: outcome.shares, teacher: teacher, to: path)
        }
      }
      return path
    }
    let path = try fit(ranks: 1, "codes.h5")
    #expect(try Files.read(path) == Files.read(fit(ranks: 3, "three.h5")))
    try Files.remove(teacher)
    let text = try TokenizerSummary(path: path).text
    #expect(text.hasPrefix("12 codes for features of ") && text.contains(" values; "), "\(text)")
    let tokenizer = "method.tokenizer=\"\(path)\""
    try encode(set: [tokenizer], to: "tokens")
    let computed = try train("a", nil, [tokenizer])
    let read = try train("b", nil, [tokenizer, targets("tokens")])
    #expect(try computed.metrics() == read.metrics())
    #expect(try computed.hash() == read.hash())
    let error = #expect(throws: ConfigurationError.self) {
      try TokenizerPicture.draw(path, TokenizerPicture.Options())
    }
    #expect("\(error, default: "")".contains("codes a teacher's features, which cannot be drawn"))
  }

  private func failure(_ yaml: String?, _ more: [String]) throws -> String {
    try tiny.failure {
      $0.yaml = yaml
      $0.set = set + more
    }?.text ?? "trained"
  }

  @Test func targetsOfTheOtherKindAreRefused() throws {
    try encode(version2, to: "features")
    let gray = [
      "data.mean=[0.5]", "data.standardDeviation=[0.25]", "model.channels=1",
      "data.train=[\"\(tiny.train)\"]",
    ]
    try encode(set: gray, to: "tokens")
    let features = try failure(nil, [targets("features")])
    #expect(features.contains("has features of a teacher; the method wants tokens"), "\(features)")
    let tokens = try failure(version2, gray + [targets("tokens")])
    #expect(tokens.contains("has tokens; the method wants features of a teacher"), "\(tokens)")
    let crops = try failure(version2, [targets("features"), "data.cropScale=[0.4, 1]"])
    #expect(crops.contains("its settings is crops of [0.5, 1.0]"), "\(crops)")
    let grid = try failure(version2, [targets("features"), "model.patchSize=2"])
    #expect(
      grid.contains("there are 4 x 4 features of an image, but the model has 8 x 8 patches"),
      "\(grid)")
    let supervised = tiny.yaml(method: "{ name: supervised, classes: 2 }")
    let unwanted = try failure(supervised, [targets("features")])
    #expect(unwanted.contains("data.targets: is for methods with a tokenizer or a teacher"))
    let views = #expect(throws: (any Error).self) {
      try encode(version2, set: ["data.fixedViews=1000000000000000"], to: "none")
    }
    #expect("\(try #require(views))".contains("cannot be"))
    let error = #expect(throws: (any Error).self) { try encode(supervised, to: "none") }
    #expect("\(try #require(error))".contains("neither a tokenizer nor a teacher"))
  }
}
