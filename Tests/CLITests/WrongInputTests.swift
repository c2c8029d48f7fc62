import Files
import Foundation
import TestSupport
import Testing

/// What users do wrong, and what they read then: one sentence and an exit code, at once.
@Suite(.serialized, .enabled(if: Program.isBuilt, Program.whyNot))
struct WrongInputTests {
  /// A mistake: what is broken first, the arguments, and what the sentence must contain.
  struct Mistake: Sendable, CustomTestStringConvertible {
    let name: String
    var code: Int32 = 65
    var ranks: Int?
    /// Breaks something on disk.
    var prepare: @Sendable (TinyRun) throws -> Void = { _ in }
    /// After `pretrain --config FILE`.
    var arguments: @Sendable (TinyRun) -> [String] = { _ in [] }
    let words: [String]

    var testDescription: String { name }

    static func set(_ name: String, _ overrides: String..., words: String...) -> Mistake {
      Mistake(
        name: name, arguments: { _ in overrides.flatMap { ["--set", $0] } }, words: words)
    }
  }

  private static func shard(_ tiny: TinyRun) -> String {
    "\(tiny.train)/\(TemporaryFolder.names(in: tiny.train)[0])"
  }

  static let mistakes: [Mistake] = [
    .set(
      "unknown key", "schedule.epoch=3",
      words: "schedule.epoch: there is no such key; did you mean epochs?"),
    .set("wrong kind", "schedule.epochs=many", words: "schedule.epochs", "number"),
    .set(
      "missing data", "data.train=[/nowhere/shards]", words: "data.train: /nowhere/shards",
      "cae-dist data pack"),
    .set("no data", "data.train=[]", words: "data.train"),
    .set(
      "channels", "model.channels=3", "data.mean=[0,0,0]", "data.standardDeviation=[1,1,1]",
      words: "model.channels", "channels"),
    .set(
      "too many masked", "method.numMaskedPatches=17",
      words: "method.numMaskedPatches", "of the 16 patches"),
    .set(
      "unreachable mask", "method.numMaskedPatches=15", "method.minimumMaskBlock=15",
      words: "method.numMaskedPatches", "method.minimumMaskBlock"),
    .set("patch size", "model.patchSize=5", words: "model.patchSize: 16 x 16 images"),
    .set(
      "method", "method.name=dino",
      words: "method.name: there is no method dino; known: cae, cae-v2, supervised"),
    .set(
      "missing tokenizer", "method.tokenizer=/nowhere/t.h5",
      words: "method.tokenizer", "/nowhere/t.h5", "cae-dist tokenizer fit"),
    .set("micro-batch", "parallelism.microBatchSize=5", words: "parallelism.microBatchSize"),
    .set("too short", "schedule.epochs=0.01", words: "schedule.epochs", "less than one batch"),
    .set("endless", "schedule.epochs=.inf", words: "schedule.epochs"),
    Mistake(
      name: "damaged shard",
      prepare: { _ = try $0.damageShard() }, words: ["images-0000", "damaged"]),
    Mistake(
      name: "truncated shard",
      prepare: { try Files.truncate(shard($0), toSize: 3000) }, words: ["images-0000"]),
    Mistake(
      name: "missing shard", prepare: { try Files.remove(shard($0)) }, words: ["shards"]),
    Mistake(
      name: "damaged checkpoint",
      prepare: { tiny in
        let ended = try Program.run(["pretrain", "--config", tiny.configuration])
        try #require(ended.code == 0, "\(ended)")
        try TemporaryFolder.flipByte(of: "\(tiny.output)/step-00000012/checkpoint.h5", at: 5000)
      }, arguments: { ["--resume", "\($0.output)/step-00000012"] },
      words: ["step-00000012 is damaged"]),
    Mistake(
      name: "no such checkpoint", arguments: { _ in ["--resume", "/nowhere"] },
      words: ["/nowhere is not a complete checkpoint"]),
    Mistake(
      name: "output is a file", code: 74,
      prepare: { try $0.folder.write("a file", to: "output") }, words: ["output"]),
    Mistake(
      name: "output is not allowed", code: 74,
      arguments: { _ in ["--output", "/sys/cae-dist/run"] }, words: ["/sys/cae-dist"]),
    Mistake(
      name: "broken configuration", prepare: { try $0.folder.write("a: [", to: "run.yaml") },
      words: ["run.yaml", "is not YAML"]),
    Mistake(
      name: "missing configuration",
      prepare: { try Files.remove($0.configuration) }, words: ["--config", "run.yaml"]),
  ]

  /// The same must hold for every rank of a job.
  static let mistakesOfJobs: [Mistake] =
    [
      Mistake(
        name: "ranks do not divide the batch", ranks: 3,
        words: ["parallelism.globalBatchSize: 16 is 4 micro-batches of 4, which 3 ranks"])
    ]
    + mistakes.filter {
      ["unknown key", "damaged shard", "output is a file"].contains($0.name)
    }.map {
      var mistake = $0
      mistake.ranks = 4
      return mistake
    }

  private func check(_ mistake: Mistake, within limit: Double) throws {
    let tiny = try TinyRun()
    try mistake.prepare(tiny)
    let ended = try Program.run(
      ["pretrain", "--config", tiny.configuration] + mistake.arguments(tiny),
      ranks: mistake.ranks, within: 60)
    #expect(ended.code == mistake.code, "\(ended)")
    #expect(!ended.wasKilled, "\(ended)")
    #expect(ended.errorLines.count == 1, "\(ended)")
    #expect(ended.errorLines.first?.hasPrefix("cae-dist: ") == true, "\(ended)")
    for word in mistake.words { #expect(ended.standardError.contains(word), "\(ended)") }
    #expect(!ended.standardError.contains("Fatal error"), "\(ended)")
    #expect(ended.seconds < limit, "\(ended)")
    if mistake.ranks != nil { #expect(!Program.isAnyRunning(with: tiny.folder.path)) }
  }

  @Test(arguments: mistakes)
  func isOneSentence(_ mistake: Mistake) throws { try check(mistake, within: 10) }

  @Test(.enabled(if: Program.hasLauncher, Program.whyNotLaunched), arguments: mistakesOfJobs)
  func isOneSentenceForAllRanks(_ mistake: Mistake) throws { try check(mistake, within: 20) }

  @Test func lockedOutputNamesItsHolder() throws {
    let tiny = try TinyRun()
    let arguments = ["pretrain", "--config", tiny.configuration, "--set", "schedule.epochs=2000"]
    let first = try Program(arguments)
    defer { first.kill() }
    while first.isRunning, !Files.exists("\(tiny.output)/metrics.jsonl") { usleep(2000) }
    let second = try Program.run(arguments, within: 20)
    #expect(second.code == 65, "\(second)")
    #expect(second.errorLines.count == 1, "\(second)")
    #expect(second.standardError.contains("run.lock is held by "), "\(second)")
    #expect(first.isRunning)
    first.kill()
    #expect(try first.end(within: 10).wasKilled)
  }

  // MARK: Wrong usage

  @Test(arguments: [
    ["nosuchverb"], ["pretrain", "--epochs", "3"], ["data", "nosuch"], ["checkpoint", "inspect"],
    ["pretrain", "--config"], ["bench", "step", "--batch", "many"], ["data", "pack"],
    ["data", "pack", "--output", "x"], ["verify"],
    ["data", "pack", "--output", "x", "--folder", "y", "--channels", "2"],
  ])
  func wrongUsageIs64(arguments: [String]) throws {
    let ended = try Program.run(arguments, within: 10)
    #expect(ended.code == 64, "\(ended)")
    #expect(ended.errorLines.first?.hasPrefix("Error: ") == true, "\(ended)")
    #expect(ended.errorLines.count { $0.hasPrefix("Error: ") } == 1, "\(ended)")
    #expect(ended.standardError.contains("Usage: cae-dist"), "\(ended)")
    #expect(ended.standardOutput.isEmpty, "\(ended)")
  }

  @Test(.enabled(if: Program.hasLauncher, Program.whyNotLaunched))
  func wrongUsageOfAJobIsSaidOnce() throws {
    let ended = try Program.run(["pretrain", "--epochs", "3"], ranks: 4, within: 30)
    #expect(ended.code == 64, "\(ended)")
    #expect(ended.errorLines.count { $0.hasPrefix("Error: ") } == 1, "\(ended)")
  }

  @Test func emptyVocabularyIsRefusedBySentence() throws {
    let tiny = try TinyRun()
    for arguments in [["--vocabulary", "1"], ["--iterations", "0"], ["--vocabulary", "-5"]] {
      let ended = try Program.run(
        ["tokenizer", "fit", "--config", tiny.configuration] + arguments, within: 10)
      #expect([64, 65].contains(ended.code), "\(ended)")
      #expect(!ended.standardError.contains("Fatal error"), "\(ended)")
    }
  }

  @Test(arguments: [
    ["checkpoint", "inspect", "/nowhere"], ["data", "inspect", "/nowhere"],
    ["tokenizer", "inspect", "/nowhere"], ["config", "print", "--config", "/nowhere"],
    ["bench", "step", "--model", "huge"], ["bench", "step", "--batch", "0"],
    ["bench", "step", "--model", "tiny", "--image-size", "0"],
    ["bench", "allreduce", "--wire", "float16"], ["bench", "allreduce"],
    ["data", "pack", "--folder", "/nowhere", "--output", "/tmp/nowhere/shards"],
    ["data", "pack", "--images", "/nowhere", "--labels", "/nowhere", "--output", "/tmp/nowhere"],
  ])
  func otherVerbsSayOneSentenceToo(arguments: [String]) throws {
    let ended = try Program.run(arguments, within: 10)
    #expect(ended.code == 65, "\(ended)")
    #expect(ended.errorLines.count == 1, "\(ended)")
    #expect(ended.standardError.hasPrefix("cae-dist: "), "\(ended)")
  }

  /// The quickstart without its data says what makes it.
  @Test func nothingAtAllNamesTheScript() throws {
    let folder = try TemporaryFolder("nothing")
    let ended = try Program.run(["--output", folder.file("run")], within: 10)
    #expect(ended.code == 65, "\(ended)")
    #expect(ended.errorLines.count == 1, "\(ended)")
    #expect(ended.standardError.contains("run Scripts/quickstart, which makes it"), "\(ended)")
    #expect(!Files.exists(folder.file("run/run.lock")), "nothing is left of a run that never was")
  }
}
