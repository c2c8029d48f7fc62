import Files
import Foundation
import TestSupport
import Testing

/// `checkpoint list`, `inspect`, `verify` and `prune` on checkpoints of real runs.
@Suite(.serialized, .enabled(if: Program.isLaunchable, Program.whyNotLaunched))
struct CheckpointCommandTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func object(_ ended: Ended) throws -> [String: Any] {
    let object = try JSONSerialization.jsonObject(with: Data(ended.standardOutput.utf8))
    return try #require(object as? [String: Any], "\(ended)")
  }

  private func names(in run: String) -> [String] {
    TemporaryFolder.names(in: run).filter { $0.contains("step-") }
  }

  private func expectOneSentence(_ ended: Ended, code: Int32 = 65, _ words: String...) {
    #expect(ended.code == code, "\(ended)")
    #expect(ended.errorLines.count == 1, "\(ended)")
    #expect(ended.standardError.hasPrefix("cae-dist: "), "\(ended)")
    for word in words { #expect(ended.standardError.contains(word), "\(ended)") }
  }

  // MARK: list

  @Test(arguments: [nil, 2, 4] as [Int?])
  func newestIsListedFirst(ranks: Int?) throws {
    let run = try tiny.train(ranks: ranks)
    let ended = try checkpoint("list", run + "/")
    #expect(ended.code == 0 && ended.standardError.isEmpty, "\(ended)")
    let names = ["step-00000012", "step-00000009", "step-00000006", "step-00000003"]
    #expect(ended.lines.map { String($0.prefix(13)) } == names, "\(ended)")
    for line in ended.lines {
      let pattern = /step-\d{8}  \d+ (s|min)  +0\.\d\d MB  complete/
      #expect(line.wholeMatch(of: pattern) != nil, "\(line)")
    }
    let list = try #require(
      try object(checkpoint("list", run, "--json"))["checkpoints"] as? [[String: Any]])
    #expect(list.map { $0["path"] as? String } == names.map { "\(run)/\($0)" })
    #expect(list.map { $0["step"] as? Int } == [12, 9, 6, 3])
    for entry in list {
      let path = try #require(entry["path"] as? String)
      let files = try Files.list(path)
      #expect(files.count == 2 + (ranks ?? 1))
      let sizes = try files.map { try Files.size(of: "\(path)/\($0)") }
      #expect(entry["sizeBytes"] as? Int == sizes.reduce(0, +))
      #expect(entry["isComplete"] as? Bool == true && entry["reason"] is NSNull)
      let age = try #require(entry["ageSeconds"] as? Double)
      #expect(age >= 0 && age < 120)
    }
  }

  @Test func listSaysWhatIsWrong() throws {
    let run = try tiny.train(ranks: 2, set: ["checkpoint.everySteps=2", "checkpoint.keepLast=9"])
    func file(_ step: Int, _ name: String) -> String {
      "\(run)/step-000000\(step < 10 ? "0" : "")\(step)/\(name)"
    }
    try Files.remove(file(12, "part-0001.h5"))
    try Files.truncate(file(10, "part-0000.h5"), toSize: 5000)
    try Files.remove(file(8, "manifest.json"))
    try TemporaryFolder.flipByte(of: file(6, "manifest.json"), at: 60)
    try TemporaryFolder.flipByte(of: file(4, "checkpoint.h5"), at: 5000)
    try Files.makeDirectory("\(run)/.writing-step-00000014")
    let ended = try checkpoint("list", run)
    #expect(ended.code == 0 && ended.standardError.isEmpty, "\(ended)")
    let words = [
      "not complete: part-0001.h5 is missing", "part-0000.h5 has 5000 bytes instead of ",
      "it has no manifest.json", "manifest is not what was written",
      "checksum of checkpoint.h5 differs", "  complete", "being written, or left by a killed run",
    ]
    try #require(ended.lines.count == words.count, "\(ended)")
    for (line, word) in zip(ended.lines, words) { #expect(line.contains(word), "\(line)") }
    let json = try object(checkpoint("list", run, "--json"))
    let list = try #require(json["checkpoints"] as? [[String: Any]])
    #expect(list.map { $0["isComplete"] as? Bool } == [false, false, false, false, false, true])
    #expect(list[0]["reason"] as? String == "part-0001.h5 is missing")
    #expect((json["leftovers"] as? [Any])?.count == 1)
  }

  /// A checkpoint of another version of the program is neither damaged nor removed.
  @Test func otherFormatsAreLeftAlone() throws {
    let run = try tiny.train(set: ["checkpoint.keepLast=1"])
    let old = "\(run)/step-00000006"
    try Files.makeDirectory(old)
    try Files.makeDirectory("\(run)/step-7")
    let files = """
          { "name": "checkpoint.h5", "size": 4, "xxh64": "0123456789abcdef" }
        ],
      """
    let text = "{\n  \"formatVersion\": 1,\n  \"step\": 6,\n  \"files\": [\n\(files)\n"
    try Files.write(
      Array((text + "  \"checksum\": \"0123456789abcdef\"\n}\n").utf8), to: "\(old)/manifest.json")
    let listed = try checkpoint("list", run)
    #expect(listed.code == 0 && listed.lines.count == 2, "\(listed)")
    #expect(listed.lines[1].hasSuffix("not complete: format 1, older than 2"), "\(listed)")
    let verified = try checkpoint("verify", run)
    #expect(verified.code == 1, "\(verified)")
    #expect(verified.lines[1] == "unreadable \(old): format 1, older than 2", "\(verified)")
    expectOneSentence(
      try checkpoint("inspect", old), "resume it with the cae-dist that wrote it, or begin anew")
    #expect(try checkpoint("prune", run, "--keep-last", "1").code == 0)
    #expect(names(in: run) == ["step-00000006", "step-00000012", "step-7"])
  }

  @Test func runWithoutCheckpointsIsListed() throws {
    let empty = tiny.folder.file("empty")
    try Files.makeDirectory(empty)
    let ended = try checkpoint("list", empty)
    #expect(ended.code == 0 && ended.standardOutput == "no checkpoints in \(empty)\n", "\(ended)")
    #expect((try object(checkpoint("list", empty, "--json"))["checkpoints"] as? [Any])?.count == 0)
  }

  // MARK: inspect

  @Test(arguments: [nil, 2] as [Int?])
  func inspectSaysWhereItComesFrom(ranks: Int?) throws {
    let path = try tiny.train(ranks: ranks) + "/step-00000009"
    let json = try object(checkpoint("inspect", path, "--json"))
    #expect(
      Set(json.keys) == [
        "step", "samplesSeen", "samplerPosition", "worldSize", "parametersHash", "momentsHash",
        "programVersion", "libraries", "sizeBytes", "parameterCount", "shapes", "configuration",
      ])
    #expect(json["step"] as? Int == 9 && json["samplesSeen"] as? Int == 144)
    #expect(json["samplerPosition"] as? Int == 144)
    #expect(json["worldSize"] as? Int == ranks ?? 1)
    #expect((json["libraries"] as? String)?.contains("HDF5 1.") == true)
    let configuration = try checkpoint("inspect", path, "--configuration")
    #expect(json["configuration"] as? String == configuration.standardOutput)
    let file = try tiny.folder.write(configuration.standardOutput, to: "saved.yaml")
    let printed = try Program.run(["config", "print", "--config", file])
    #expect(printed.standardOutput == configuration.standardOutput, "\(printed)")
    let text = try checkpoint("inspect", path)
    let writers = ranks.map { "\($0) ranks" } ?? "1 rank"
    #expect(text.lines[0].hasPrefix("step 9, 144 samples seen, 0."), "\(text)")
    #expect(text.lines[1].hasPrefix("written by \(writers) of cae-dist "), "\(text)")
    #expect(text.lines.contains("encoder.norm.weight (16)"), "\(text)")
  }

  // MARK: verify

  @Test func verifyFindsWhatListDoesNotRead() throws {
    let run = try tiny.train(ranks: 2)
    let good = try checkpoint("verify", run)
    #expect(good.code == 0 && good.standardError.isEmpty, "\(good)")
    #expect(good.lines.count == 4, "\(good)")
    #expect(good.lines[0].hasPrefix("ok \(run)/step-00000012, 0."), "\(good)")

    try TinyRun.damageData(of: "\(run)/step-00000006", part: "part-0001.h5")
    #expect(try checkpoint("list", run).lines.allSatisfy { $0.hasSuffix("complete") })
    let found = try checkpoint("verify", run)
    #expect(found.code == 1 && found.standardError.isEmpty, "\(found)")
    #expect(
      found.lines[2] == "damaged \(run)/step-00000006: checksum of part-0001.h5 differs",
      "\(found)")
    #expect(found.lines.count { $0.hasPrefix("ok ") } == 3, "\(found)")

    let json = try checkpoint("verify", "\(run)/step-00000012", "\(run)/step-00000006", "--json")
    #expect(json.code == 1)
    let fields = try object(json)
    #expect(fields["isClean"] as? Bool == false)
    let list = try #require(fields["checkpoints"] as? [[String: Any]])
    #expect(list.map { $0["isIntact"] as? Bool } == [true, false])
    #expect(list[0]["reason"] is NSNull)
    #expect(list[1]["reason"] as? String == "checksum of part-0001.h5 differs")
  }

  @Test func anyByteOfAnyFileIsVerified() throws {
    let path = try tiny.train(ranks: 2) + "/step-00000012"
    let names = try Files.list(path)
    #expect(names == ["checkpoint.h5", "manifest.json", "part-0000.h5", "part-0001.h5"])
    for name in names {
      let file = "\(path)/\(name)"
      let bytes = try Files.read(file)
      for place in [0, bytes.count / 3, bytes.count / 2, bytes.count - 2] {
        try TemporaryFolder.flipByte(of: file, at: place)
        let ended = try checkpoint("verify", path)
        #expect(ended.code == 1, "\(name), byte \(place): \(ended)")
        #expect(ended.standardOutput.contains(name == "manifest.json" ? "manifest" : name))
        try Files.write(bytes, to: file)
      }
    }
    #expect(try checkpoint("verify", path).code == 0)
  }

  @Test func incompleteCheckpointIsNotVerified() throws {
    let path = try tiny.train() + "/step-00000012"
    try Files.remove("\(path)/manifest.json")
    let ended = try checkpoint("verify", path)
    #expect(ended.code == 1, "\(ended)")
    #expect(ended.lines == ["damaged \(path): it has no manifest.json"], "\(ended)")
  }

  // MARK: prune

  @Test func pruneKeepsWhatItIsTold() throws {
    let run = try tiny.train(ranks: 2)
    let before = names(in: run)
    let trial = try checkpoint("prune", run, "--keep-last", "1", "--keep-every", "6", "--dry-run")
    #expect(trial.code == 0 && names(in: run) == before, "\(trial)")
    #expect(trial.lines.count == 3, "\(trial)")
    #expect(trial.lines[0].hasPrefix("would remove \(run)/step-00000009, 0."), "\(trial)")
    #expect(trial.lines[2].hasSuffix("; would stay: step 12, 6"), "\(trial)")

    let done = try checkpoint("prune", run, "--keep-last", "1", "--keep-every", "6")
    #expect(done.code == 0 && done.standardError.isEmpty, "\(done)")
    #expect(done.lines[1].hasPrefix("removed \(run)/step-00000003, 0."), "\(done)")
    #expect(done.lines[2].hasSuffix("; kept: step 12, 6"), "\(done)")
    #expect(names(in: run) == ["step-00000006", "step-00000012"])
    #expect(try checkpoint("verify", run).code == 0)
  }

  @Test func damagedOnesAndLeftoversGo() throws {
    let run = try tiny.train(ranks: 2)
    try Files.remove("\(run)/step-00000012/part-0001.h5")
    try Files.makeDirectory("\(run)/.writing-step-00000015")
    try Files.makeDirectory("\(run)/.removing-step-00000001")
    let ended = try checkpoint("prune", run)
    #expect(ended.code == 0, "\(ended)")
    #expect(
      ended.lines.prefix(2).allSatisfy { $0.hasSuffix(": left by a killed run") }, "\(ended)")
    #expect(ended.lines[2].hasSuffix(": part-0001.h5 is missing"), "\(ended)")
    #expect(names(in: run) == ["step-00000003", "step-00000006", "step-00000009"])
    // A damaged one does not count as one of those that stay.
    try Files.remove("\(run)/step-00000009/manifest.json")
    #expect(try checkpoint("prune", run, "--keep-last", "1").code == 0)
    #expect(names(in: run) == ["step-00000006"])
  }

  @Test func whatIsLeftOfADamagedRunStays() throws {
    let run = try tiny.train(set: ["checkpoint.keepLast=1"])
    try Files.remove("\(run)/step-00000012/part-0000.h5")
    let ended = try checkpoint("prune", run, "--keep-last", "1")
    #expect(ended.code == 0 && names(in: run) == ["step-00000012"], "\(ended)")
    #expect(ended.standardOutput == "nothing to remove; kept: step 12\n", "\(ended)")
  }

  /// What `--resume PATH` asks for where the run has newer checkpoints.
  @Test func pruneAfterAStepLetsItBeResumed() throws {
    let run = try tiny.train()
    let whole = try InspectedCheckpoint("\(run)/step-00000012").parametersHash
    let resume = [
      "pretrain", "--config", tiny.configuration, "--output", run, "--resume",
      "\(run)/step-00000006", "--set", "parallelism.deterministic=true",
    ]
    let refused = try Program.run(resume)
    expectOneSentence(refused, "cae-dist checkpoint prune \(run) --after 6")
    let ended = try checkpoint("prune", run, "--after", "6")
    #expect(ended.code == 0 && ended.lines[0].hasSuffix(": after step 6"), "\(ended)")
    #expect(names(in: run) == ["step-00000003", "step-00000006"])
    let resumed = try Program.run(resume)
    #expect(resumed.code == 0, "\(resumed)")
    #expect(try InspectedCheckpoint("\(run)/step-00000012").parametersHash == whole)
    #expect(
      try checkpoint("prune", run, "--after", "0").lines.last?.hasSuffix("no checkpoint") == true)
    #expect(names(in: run).isEmpty)
  }

  @Test func folderOfARunningRunIsNotPruned() throws {
    let run = tiny.folder.file("running")
    let program = try Program([
      "pretrain", "--config", tiny.configuration, "--output", run, "--set", "schedule.epochs=2000",
      "--set", "checkpoint.everySteps=10",
    ])
    defer { program.kill() }
    while program.isRunning, !Files.exists("\(run)/step-00000010") { usleep(2000) }
    for option in [[], ["--dry-run"]] {
      let ended = try Program.run(["checkpoint", "prune", run, "--after", "0"] + option)
      expectOneSentence(ended, "run.lock is held by ", "wait for that process or stop it")
    }
    #expect(try checkpoint("list", run).code == 0)
    #expect(!names(in: run).isEmpty && program.isRunning)
  }

  // MARK: Wrong input

  @Test func wrongInputIsOneSentence() throws {
    let run = try tiny.train(set: ["checkpoint.keepLast=1"])
    let (path, empty) = ("\(run)/step-00000012", tiny.folder.file("empty"))
    try Files.makeDirectory(empty)
    for verb in ["list", "prune", "verify"] {
      expectOneSentence(try checkpoint(verb, "/nowhere"), "/nowhere: there is no such folder")
    }
    for verb in ["list", "prune"] {
      expectOneSentence(try checkpoint(verb, path), "\(path): that is a checkpoint; name the run")
      expectOneSentence(try checkpoint(verb, tiny.configuration), "there is no such folder")
    }
    expectOneSentence(try checkpoint("verify", empty), "\(empty): there is no checkpoint in it")
    expectOneSentence(try checkpoint("verify", path, tiny.configuration), "that is a file")
    for input in [tiny.configuration, tiny.tokenizer, "\(path)/checkpoint.h5"] {
      expectOneSentence(
        try checkpoint("inspect", input), "\(input) is neither a checkpoint, a folder step-")
      expectOneSentence(try checkpoint("diff", path, input), "\(input) is neither a checkpoint")
    }
    for verb in ["inspect", "diff"] {
      expectOneSentence(
        try Program.run(["checkpoint", verb, "/nowhere"] + (verb == "diff" ? [path] : [])),
        "/nowhere: there is no such file or folder")
    }
  }

  @Test(arguments: [
    ["list"], ["verify"], ["merge", "x"], ["diff", "x"], ["prune"],
    ["prune", "x", "--keep-last", "0"],
    ["prune", "x", "--keep-every", "0"], ["prune", "x", "--after", "1", "--keep-last", "2"],
    ["prune", "x", "--after=-1"], ["inspect", "x", "--json", "--configuration"],
  ])
  func wrongUsageIs64(arguments: [String]) throws {
    let ended = try Program.run(["checkpoint"] + arguments)
    #expect(ended.code == 64, "\(ended)")
    #expect(ended.errorLines.first?.hasPrefix("Error: ") == true, "\(ended)")
    #expect(ended.standardOutput.isEmpty, "\(ended)")
  }

  @Test func aRunStandsForItsNewestCheckpoint() throws {
    let run = try tiny.train(ranks: nil)
    let summary = try object(checkpoint("inspect", run, "--json"))
    #expect(summary["step"] as? Int == 12)
    let same = try checkpoint("diff", run, "\(run)/step-00000012")
    #expect(same.code == 0, "\(same)")
    expectOneSentence(
      try checkpoint("inspect", run + "-gone"), "there is no such file or folder")
  }
}
