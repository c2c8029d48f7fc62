import Foundation
import HDF5
import TestSupport
import Testing

/// What the program offers: verbs, options, help, and what the verbs without a run answer.
@Suite(.serialized, .enabled(if: Program.isBuilt, Program.whyNot))
struct CommandLineTests {
  /// The command line as the argument parser describes it.
  struct Verb: Decodable {
    struct Name: Decodable {
      let kind: String
      let name: String
    }
    struct Argument: Decodable {
      let kind: String
      let names: [Name]?
      let valueName: String?
    }
    let commandName: String
    let arguments: [Argument]?
    let subcommands: [Verb]?

    /// All verbs that do something, as one types them.
    func leaves(after path: [String] = []) -> [[String]] {
      guard let subcommands, !subcommands.isEmpty else { return [path] }
      return subcommands.filter { $0.commandName != "help" }
        .flatMap { $0.leaves(after: path + [$0.commandName]) }
    }
  }

  private func commandLine() throws -> Verb {
    struct Dump: Decodable { let command: Verb }
    let ended = try Program.run(["--experimental-dump-help"])
    return try JSONDecoder().decode(Dump.self, from: Data(ended.standardOutput.utf8)).command
  }

  @Test func verbsAreThese() throws {
    let verbs = try commandLine().leaves().map { $0.joined(separator: " ") }
    #expect(
      verbs.sorted() == [
        "bench allreduce", "bench checkpoint", "bench gemm", "bench loader", "bench step",
        "bench teacher", "bench tokenizer",
        "checkpoint diff", "checkpoint inspect", "checkpoint list", "checkpoint merge",
        "checkpoint prune", "checkpoint verify", "config print", "data inspect", "data pack",
        "data verify", "doctor", "evaluate attentive", "evaluate finetune", "evaluate knn",
        "evaluate linear",
        "export",
        "features", "import",
        "picture attention", "picture loss", "picture masks", "picture reconstruction", "plan",
        "pretrain", "report", "tokenizer encode", "tokenizer fit", "tokenizer inspect", "verify",
      ])
  }

  /// Nothing else changes training: whoever adds an option here takes it from the configuration.
  @Test func optionsOfPretrainAreFrozen() throws {
    let pretrain = try #require(
      try commandLine().subcommands?.first { $0.commandName == "pretrain" })
    let names = (pretrain.arguments ?? []).flatMap { $0.names ?? [] }.filter { $0.kind == "long" }
    #expect(
      Set(names.map(\.name)) == ["config", "set", "output", "resume", "inject", "version", "help"])
  }

  @Test func helpOfEveryVerbHasAnExample() throws {
    for verb in [[]] + (try commandLine().leaves()) {
      let ended = try Program.run(verb + ["--help"], within: 10)
      #expect(ended.code == 0, "\(verb)")
      #expect(ended.standardError.isEmpty, "\(verb)")
      let example = ended.standardOutput.range(of: "Example")
      #expect(example != nil, "\(verb)")
      // The example is one of this verb.
      let words = (["cae-dist"] + verb).joined(separator: " ")
      let rest = example.map { ended.standardOutput[$0.upperBound...] } ?? ""
      #expect(rest.split(whereSeparator: \.isWhitespace).joined(separator: " ").contains(words))
    }
  }

  @Test func version() throws {
    let ended = try Program.run(["--version"], within: 10)
    #expect(ended.code == 0)
    let numbers = ended.standardOutput.trimmingCharacters(in: .newlines).split(separator: ".")
    #expect(numbers.count == 3 && numbers.allSatisfy { Int($0) != nil }, "\(ended)")
  }

  // MARK: config print

  @Test(arguments: [[], ["--set", "schedule.epochs=1e2", "--set", "data.mean=[0.25]"]])
  func printedConfigurationPrintsTheSame(overrides: [String]) throws {
    let tiny = try TinyRun()
    let first = try Program.run(
      ["config", "print", "--config", tiny.configuration] + overrides, within: 10)
    #expect(first.code == 0, "\(first)")
    let path = try tiny.folder.write(first.standardOutput, to: "printed.yaml")
    let second = try Program.run(["config", "print", "--config", path], within: 10)
    #expect(second.standardOutput == first.standardOutput)
    #expect(first.standardOutput.contains("epochs: \(overrides.isEmpty ? "2" : "100")\n"))
  }

  @Test func quickstartPrintsTheSame() throws {
    let folder = try TemporaryFolder("print")
    let first = try Program.run(["config", "print"], within: 10)
    let path = try folder.write(first.standardOutput, to: "printed.yaml")
    let second = try Program.run(["config", "print", "--config", path], within: 10)
    #expect(first.code == 0 && second.standardOutput == first.standardOutput)
  }

  /// A launcher that has lost a host asks how many of the ranks left can go on.
  @Test(arguments: [
    ("6", false, "6"), ("5", false, "4"), ("1", false, "1"), ("100", false, "24"),
    ("23", false, "12"), ("24", true, "24"), ("5", true, "3"), ("2", true, "1"),
  ])
  func printsHowManyRanksCanGoOn(limit: String, isDeterministic: Bool, ranks: String) throws {
    let ended = try Program.run([
      "config", "print", "--ranks-up-to", limit, "--set", "parallelism.globalBatchSize=96",
      "--set", "parallelism.microBatchSize=4",
      "--set", "parallelism.deterministic=\(isDeterministic)",
      "--set", "parallelism.threadsPerRank=1",
    ])
    #expect(ended.code == 0 && ended.standardOutput == "\(ranks)\n", "\(ended)")
  }

  @Test(arguments: ["0", "-1", "many"])
  func ranksAreAPositiveNumber(limit: String) throws {
    let ended = try Program.run(["config", "print", "--ranks-up-to=\(limit)"])
    #expect(ended.code == 64 && ended.standardError.contains("--ranks-up-to"), "\(ended)")
  }

  /// A folder is a folder, whatever characters its name has.
  @Test(arguments: ["a b", "a\"b", "a\\new", "a: #b", "12", "1e5", "[x]", "~", "caf\u{E9}"])
  func outputMayHaveAnyName(output: String) throws {
    let tiny = try TinyRun()
    let path = tiny.folder.file(output)
    let ended = try Program.run([
      "pretrain", "--config", tiny.configuration, "--output", path,
      "--set", "schedule.epochs=0.2",
    ])
    #expect(ended.code == 0, "\(ended)")
    let names = TemporaryFolder.names(in: path)
    #expect(names.contains("metrics.jsonl"), "\(TemporaryFolder.names(in: tiny.folder.path))")
    // What is saved there names the same folder.
    let again = try Program.run(["pretrain", "--config", "\(path)/configuration.yaml"])
    #expect(again.standardOutput.contains("nothing to do: \(path) has done all"), "\(again)")
  }

  // MARK: verify

  private static let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("Golden/cae-v1-tiny.h5").path

  /// A copy of the reference with something changed.
  private func changed(
    in folder: TemporaryFolder, _ name: String, _ change: (HDF5Group) throws -> Void
  ) throws -> String {
    let path = folder.file(name)
    try FileManager.default.copyItem(atPath: Self.golden, toPath: path)
    let file = try HDF5File(path: path, .readWrite)
    try change(file.root)
    try file.close()
    return path
  }

  private func wrongLoss(in folder: TemporaryFolder) throws -> String {
    try changed(in: folder, "wrong.h5") { root in
      let loss = try root.dataset("expected/loss")
      try loss.write(try loss.read(as: Float.self).map { $0 * 1.001 })
    }
  }

  @Test func goodReferencePasses() throws {
    let ended = try Program.run(["verify", Self.golden])
    #expect(ended.code == 0, "\(ended)")
    #expect(ended.standardOutput.hasPrefix("ok"), "\(ended)")
  }

  @Test func wrongReferenceFailsWith1() throws {
    let folder = try TemporaryFolder("verify")
    let ended = try Program.run(["verify", try wrongLoss(in: folder)])
    #expect(ended.code == 1, "\(ended)")
    #expect(ended.standardOutput.hasPrefix("FAIL"), "\(ended)")
    #expect(ended.standardOutput.contains("(loss)"), "\(ended)")
  }

  @Test func otherMethodIs69() throws {
    let folder = try TemporaryFolder("verify")
    let path = try changed(in: folder, "v2.h5") { try $0.setAttribute("version", 3) }
    let ended = try Program.run(["verify", path], within: 20)
    #expect(ended.code == 69, "\(ended)")
    #expect(ended.standardOutput.contains("CAE version 3 is not built"), "\(ended)")
  }

  @Test func unreadableReferenceIs65() throws {
    let folder = try TemporaryFolder("verify")
    let text = try folder.write("no HDF5", to: "text.h5")
    let extra = try changed(in: folder, "sizes.h5") { try $0.setAttribute("heads", 7) }
    for path in [text, extra, folder.file("missing.h5")] {
      let ended = try Program.run(["verify", path], within: 20)
      #expect(ended.code == 65, "\(ended)")
      #expect((ended.standardOutput + ended.standardError).contains(path), "\(ended)")
      #expect(!ended.standardError.contains("Fatal error"), "\(ended)")
    }
  }

  @Test func failureOutweighsWhatCannotBeRead() throws {
    struct Outcome: Decodable {
      struct File: Decodable {
        let path: String
        let passed: Bool
        let error: String
      }
      let files: [File]
    }
    let folder = try TemporaryFolder("verify")
    let paths = [Self.golden, folder.file("missing.h5"), try wrongLoss(in: folder)]
    let ended = try Program.run(["verify", "--json"] + paths)
    #expect(ended.code == 1, "\(ended)")
    let files = try JSONDecoder().decode(Outcome.self, from: Data(ended.standardOutput.utf8)).files
    #expect(files.map(\.path) == paths)
    #expect(files.map(\.passed) == [true, false, false])
    #expect(files.map(\.error.isEmpty) == [true, false, true])
  }

  // MARK: Other verbs

  @Test func jsonOfVerbsIsOneObject() throws {
    let tiny = try TinyRun()
    for arguments in [
      ["data", "inspect", tiny.train], ["tokenizer", "inspect", tiny.tokenizer],
      ["plan", "--model", "large", "--ranks-per-host", "2"],
      ["bench", "step", "--model", "tiny", "--image-size", "32", "--batch", "1", "--repeats", "1"],
    ] {
      let ended = try Program.run(arguments + ["--json"])
      #expect(ended.code == 0, "\(ended)")
      let object = try JSONSerialization.jsonObject(with: Data(ended.standardOutput.utf8))
      let keys = try #require(object as? [String: Any]).keys
      #expect(keys.allSatisfy { $0.first?.isLowercase == true && !$0.contains("_") })
    }
  }

  @Test func anUnknownVerbIsNamed() throws {
    let ended = try Program.run(["exprt", "runs/x", "--format", "hdf5"])
    #expect(ended.code == 64, "\(ended)")
    #expect(
      ended.standardError.contains("there is no verb exprt; did you mean export?"), "\(ended)")
  }

  @Test func aPlanTellsMemoryTimeAndTheBestLayout() throws {
    struct Plan: Decodable {
      struct Layout: Decodable { let microBatch, accumulation, threads: Int }
      struct Time: Decodable {
        let stepMilliseconds, imagesPerSecond, exposedCommunicationMilliseconds, efficiency: Double
        let bottleneck: String
      }
      struct Best: Decodable { let time: Time }
      let layout: Layout
      let time: Time
      let best: Best
      let fits: Bool
    }
    let arguments = [
      "plan", "--model", "large", "--hosts", "16", "--ranks-per-host", "8", "--cores-per-host",
      "64",
      "--link-gbit", "25", "--memory-gib", "256", "--global-batch", "2048",
    ]
    let ended = try Program.run(arguments + ["--json"])
    #expect(ended.code == 0, "\(ended)")
    let plan = try JSONDecoder().decode(Plan.self, from: Data(ended.standardOutput.utf8))
    #expect(plan.layout.microBatch * plan.layout.accumulation == 16)
    #expect(plan.layout.threads == 8)
    #expect(plan.fits)
    #expect((0.3...1).contains(plan.time.efficiency))
    #expect(plan.best.time.imagesPerSecond >= plan.time.imagesPerSecond)
    let text = try Program.run(arguments + ["--scaling"])
    #expect(text.standardOutput.contains("best layout found"), "\(text)")
    #expect(text.lines.last?.hasPrefix(" 1024") == true, "\(text)")
  }
}
