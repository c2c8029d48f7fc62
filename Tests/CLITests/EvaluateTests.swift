import Artifacts
import Files
import Foundation
import HDF5
import PNGCodec
import TestSupport
import Testing

/// Evaluations, features, export and import of a real run, by the program.
@Suite(.serialized, .enabled(if: Program.isLaunchable, Program.whyNotLaunched))
struct EvaluateTests {
  private let tiny: TinyRun

  private struct Result: Decodable {
    let `protocol`: String
    let top1: Double
    let top5: Double
    let count: Int
    let files: String
  }

  init() throws {
    tiny = try TinyRun()
    let ended = try Program.run(["pretrain", "--config", tiny.configuration])
    try #require(ended.code == 0, "\(ended)")
  }

  private func evaluate(
    _ verb: String, _ options: [String] = [], ranks: Int? = nil
  ) throws -> Result {
    let ended = try Program.run(
      ["evaluate", verb, tiny.output, "--validation", tiny.validation, "--json"] + options,
      ranks: ranks)
    try #require(ended.code == 0 && ended.standardError.isEmpty, "\(ended)")
    return try JSONDecoder().decode(Result.self, from: Data(ended.standardOutput.utf8))
  }

  @Test func neighboursAreTheSameOnAnyNumberOfRanks() throws {
    let results = try [nil, 3].map { try evaluate("knn", ranks: $0) }
    #expect(results[0].protocol == "knn" && results[0].count == 40)
    #expect(results[0].top1 == results[1].top1 && results[0].top5 == results[1].top5)
  }

  /// A head that is trained on one rank is judged alike on three, and its attention drawn.
  @Test func anAttentiveHeadIsJudgedAndDrawn() throws {
    let settings = [
      "--batch-size", "24", "--epochs", "2", "--learning-rate", "0.05", "--views", "plain",
    ]
    let trained = try evaluate("attentive", settings)
    let head = trained.files + ".h5"
    let again = try evaluate(
      "attentive", ["--head", head, "--output", tiny.folder.file("again")], ranks: 3)
    #expect(again.top1 == trained.top1 && again.top5 == trained.top5)

    let report = try Program.run(["report", tiny.output])
    #expect(report.code == 0, "\(report)")
    let (own, probe) = (
      try PNGImage(path: "\(tiny.output)/pictures/attention.png"),
      try PNGImage(path: "\(tiny.output)/pictures/probe-attention.png")
    )
    #expect(own.width == probe.width && own.height == probe.height && own.pixels != probe.pixels)
    #expect(try Files.readText("\(tiny.output)/report.html").contains("attentive probe's query"))

    let file = tiny.folder.file("wrong.png")
    let wrong = try Program.run(
      ["picture", "attention", tiny.output, "--head", tiny.tokenizer, "--output", file])
    #expect(wrong.code == 65 && wrong.errorLines.count == 1, "\(wrong)")
    #expect(wrong.standardError.contains("it is not the head of an evaluation"), "\(wrong)")
  }

  @Test func fineTuningOnSeveralRanks() throws {
    let settings = [
      "--batch-size", "12", "--epochs", "3", "--train-images", "48", "--learning-rate", "1e-3",
      "--set", "optimizer.learningRate=1.0e-3",
    ]
    let results = try [2, 3].map { try evaluate("finetune", settings, ranks: $0) }
    #expect(results[0].protocol == "finetune" && results[0].count == 40)
    #expect(results[0].files.hasSuffix("/evaluations/finetune-48-images-step-00000012"))
    #expect(results[0].top1 == results[1].top1, "the second one judges what the first has trained")
    let folder = results[0].files
    #expect(try Files.readText("\(folder)/metrics.jsonl").split(separator: "\n").count == 12)
    let report = try Program.run(["report", folder])
    #expect(report.code == 0 && report.standardError.isEmpty, "\(report)")
    #expect(try !Files.readText("\(folder)/report.html").contains("could not be made"))
    let other = try Program.run(
      ["evaluate", "finetune", tiny.output, "--validation", tiny.validation] + settings.dropLast()
        + ["optimizer.learningRate=0.5"])
    #expect(other.code == 65 && other.errorLines.count == 1, "\(other)")
    #expect(
      other.standardError.contains("optimizer.learningRate: is 0.5 here but 0.001"), "\(other)")
  }

  @Test func featuresFollowTheShards() throws {
    let files = try [nil, 2].map { ranks in
      let file = tiny.folder.file("features-\(ranks ?? 1).h5")
      let ended = try Program.run(
        ["features", tiny.output, "--images", tiny.validation, "--output", file], ranks: ranks)
      try #require(ended.code == 0, "\(ended)")
      return file
    }
    let features = try files.map {
      try HDF5File(path: $0, .readOnly).root.dataset("features")
    }
    #expect(features[0].shape == [40, 16])
    #expect(try sameBits(features[0].read(), features[1].read()))
    let labels = try files.map { try ArtifactReader(path: $0).integers("labels").values }
    #expect(
      labels[0] == labels[1] && labels[0].sorted() == (0..<40).map { Int64($0 % 10) }.sorted())
  }

  @Test(arguments: ["cae-safetensors", "timm-safetensors", "hdf5"])
  func weightsGoOutAndComeBack(format: String) throws {
    let name = format == "hdf5" ? "out.h5" : "out.safetensors"
    let (out, back) = (tiny.folder.file(name), tiny.folder.file("back.h5"))
    let export = try Program.run(
      ["export", tiny.output, "--format", format, "--output", out])
    #expect(export.code == 0, "\(export)")
    let refused = try Program.run(
      ["export", tiny.output, "--format", format, "--output", out])
    #expect(refused.code == 65 && refused.errorLines.count == 1, "\(refused)")
    let imported = try Program.run(["import", out, "--heads", "2", "--output", back])
    try #require(imported.code == 0, "\(imported)")
    let before = try evaluate("knn")
    let after = try Program.run([
      "evaluate", "knn", back, "--train", tiny.train, "--validation", tiny.validation, "--json",
    ])
    try #require(after.code == 0, "\(after)")
    let result = try JSONDecoder().decode(Result.self, from: Data(after.standardOutput.utf8))
    #expect(result.count == before.count)
    #expect(abs(result.top1 - before.top1) <= 0.025, "the same features but for rounding")
  }

  @Test(arguments: [
    ["evaluate", "knn", "/nowhere"], ["evaluate", "finetune", "/nowhere"],
    ["features", "/nowhere", "--images", "x", "--output", "y.h5"],
    ["export", "/nowhere", "--format", "hdf5", "--output", "y.h5"],
    ["import", "/nowhere", "--output", "y.h5"],
  ])
  func wrongInputIsOneSentence(arguments: [String]) throws {
    for ranks in [nil, 2] where ranks == nil || ["evaluate", "features"].contains(arguments[0]) {
      let ended = try Program.run(arguments, ranks: ranks, folder: tiny.folder.path)
      #expect(ended.code == 65 && ended.standardOutput.isEmpty, "\(ended)")
      #expect(ended.errorLines.filter { $0.hasPrefix("cae-dist: ") }.count == 1, "\(ended)")
    }
  }
}
