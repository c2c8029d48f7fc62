import Files
import Foundation
import PNGCodec
import TestSupport
import Testing

/// `cae-dist data`, as a process.
@Suite(.enabled(if: Program.isBuilt, Program.whyNot)) struct DataTests {
  private let folder: TemporaryFolder

  /// Two classes of pictures.
  init() throws {
    folder = try TemporaryFolder("data-verbs")
    for name in ["ant", "bee"] {
      try Files.makeDirectory(folder.file("photos/\(name)"))
      for number in 0..<60 {
        let pixels = (0..<40 * 30 * 3).map { UInt8(truncatingIfNeeded: $0 * (number + 3)) }
        try PNGImage(width: 40, height: 30, channels: .rgb, pixels: pixels).write(
          path: folder.file("photos/\(name)/\(number).png"))
      }
    }
  }

  private func pack(_ arguments: [String] = [], to output: String) -> [String] {
    [
      "data", "pack", "--folder", folder.file("photos"), "--output", folder.file(output),
      "--shard-size", "10",
    ] + arguments
  }

  private func shards(_ output: String) throws -> [String] {
    TemporaryFolder.names(in: folder.file(output)).filter { $0.hasSuffix(".h5") }
  }

  @Test(.enabled(if: Program.isLaunchable, Program.whyNotLaunched))
  func ranksPackWhatOneProcessPacks() throws {
    let alone = try Program.run(pack(to: "one"))
    #expect(alone.code == 0, "\(alone)")
    #expect(alone.standardOutput.contains("packed 120 images into 12 shards"))
    let ended = try Program.run(pack(to: "three"), ranks: 3)
    #expect(ended.code == 0, "\(ended)")
    let names = try shards("one")
    let others = try shards("three")
    #expect(names.count == 12 && names == others)
    for name in names {
      #expect(
        try Files.read(folder.file("one/\(name)")) == Files.read(folder.file("three/\(name)")))
    }
  }

  @Test func aKilledPackingGoesOn() throws {
    let program = try Program(pack(["--shard-size", "1"], to: "out"))
    while program.isRunning, try !Files.exists(folder.file("out")) || shards("out").count < 5 {
      usleep(200)
    }
    program.kill()
    _ = try program.end(within: 10)
    let before = try shards("out").count
    let ended = try Program.run(pack(["--shard-size", "1"], to: "out"))
    #expect(ended.code == 0, "\(ended)")
    #expect(ended.standardOutput.contains("complete already") || before == 0)
    #expect(try shards("out").count == 120)
    // And nothing else but the lock.
    #expect(TemporaryFolder.names(in: folder.file("out")).count == 121)
    let verified = try Program.run(["data", "verify", folder.file("out")])
    #expect(verified.code == 0, "\(verified)")
    #expect(verified.standardOutput.contains("all 120 samples are as they were written"))
  }

  @Test func verifyNamesWhatIsWrong() throws {
    #expect(try Program.run(pack(to: "out")).code == 0)
    let path = folder.file("out/\(try shards("out")[3])")
    try TemporaryFolder.flipByte(of: path, at: try Files.size(of: path) / 2)
    let ended = try Program.run(["data", "verify", folder.file("out"), "--json"])
    #expect(ended.code == 1, "\(ended)")
    struct Report: Decodable {
      struct Finding: Decodable {
        let path: String
        let reason: String
      }
      let isClean: Bool
      let samples: Int
      let findings: [Finding]
    }
    let report = try JSONDecoder().decode(Report.self, from: Data(ended.standardOutput.utf8))
    #expect(!report.isClean && report.samples == 120)
    #expect(!report.findings.isEmpty && report.findings.allSatisfy { $0.path == path })
    let missing = try Program.run(["data", "verify", "/no/such/folder"])
    #expect(missing.code == 1 && missing.standardOutput.contains("/no/such/folder"))
  }

  @Test func badImagesEndThePackingOrAreListed() throws {
    try Files.write(Array("torn".utf8), to: folder.file("photos/bee/torn.png"))
    let failed = try Program.run(pack(to: "out"))
    #expect(failed.code == 65 && failed.errorLines.count == 1, "\(failed)")
    #expect(failed.standardError.contains("Cannot pack bee/torn.png"))
    let skipped = try Program.run(pack(["--on-bad-image", "skip"], to: "other"))
    #expect(skipped.code == 0, "\(skipped)")
    #expect(skipped.standardOutput.contains("1 image left out"))
    let report = try Files.readText(folder.file("other/skipped.jsonl"))
    #expect(report.contains("\"image\":\"bee/torn.png\"") && report.contains("\"reason\":"))
    // Shards of other options are not mixed with these.
    let mixed = try Program.run(pack(["--resize-shorter", "20"], to: "other"))
    #expect(mixed.code == 65 && mixed.standardError.contains("of another packing"), "\(mixed)")
  }

  @Test func inspectCountsAndDraws() throws {
    #expect(try Program.run(pack(to: "out")).code == 0)
    let ended = try Program.run(
      ["data", "inspect", folder.file("out"), "--sheet", folder.file("sheet.png")])
    #expect(ended.code == 0, "\(ended)")
    #expect(ended.standardOutput.contains("120 images, encoded images"))
    #expect(ended.standardOutput.contains("class bee: 60"))
    #expect(try PNGImage(path: folder.file("sheet.png")).width == 982)
  }

  @Test(arguments: [
    ["data", "pack", "--output", "x"], ["data", "pack", "--folder", "a", "--tar", "b"],
    ["data", "pack", "--folder", "a", "--output", "x", "--size", "9", "--resize-shorter", "9"],
    ["data", "pack", "--folder", "a", "--output", "x", "--order", "sideways"],
    ["bench", "loader", "x", "--threads", "0"],
  ])
  func wrongUsageIsRefused(arguments: [String]) throws {
    #expect(try Program.run(arguments).code == 64)
  }
}
