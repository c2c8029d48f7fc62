import Files
import Foundation
import PNGCodec
import TestSupport
import Testing

/// `report` and `picture` of a real run.
@Suite(.serialized, .enabled(if: Program.isBuilt, Program.whyNot))
struct ReportTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func train(_ set: String...) throws -> String {
    let ended = try Program.run(
      ["pretrain", "--config", tiny.configuration, "--output", tiny.output]
        + set.flatMap { ["--set", $0] })
    try #require(ended.code == 0, "\(ended)")
    return tiny.output
  }

  @Test func reportHasThePicturesOfTheRun() throws {
    let run = try train()
    let ended = try Program.run(["report", run])
    #expect(ended.code == 0 && ended.standardError.isEmpty, "\(ended)")
    #expect(ended.lines == ["\(run)/report.html"])
    let names = ["attention.png", "masks.png", "reconstruction.png"]
    #expect(TemporaryFolder.names(in: "\(run)/pictures") == names)
    let html = try Files.readText("\(run)/report.html")
    #expect(html.components(separatedBy: "<figure>").count == 4)
    #expect(html.contains("<dt>steps done</dt><dd>12</dd>") && html.contains("<td>complete</td>"))

    let elsewhere = tiny.folder.file("other.html")
    try Files.removeTree("\(run)/pictures")
    let without = try Program.run(["report", run, "--no-pictures", "--output", elsewhere])
    #expect(without.code == 0 && without.lines == [elsewhere[...]], "\(without)")
    #expect(try !Files.readText(elsewhere).contains("<figure>"))
    #expect(!Files.exists("\(run)/pictures"))
  }

  @Test func picturesAreOfCheckpointsRunsAndMergedFiles() throws {
    let run = try train()
    let (checkpoint, merged) = ("\(run)/step-00000012", tiny.folder.file("merged.h5"))
    #expect(try Program.run(["checkpoint", "merge", checkpoint, "--output", merged]).code == 0)
    for verb in ["attention", "reconstruction"] {
      let files = try [run, checkpoint, merged].enumerated().map { number, source in
        let file = tiny.folder.file("\(verb)-\(number).png")
        let ended = try Program.run(["picture", verb, source, "--output", file])
        #expect(ended.code == 0 && ended.standardOutput.hasPrefix(file), "\(ended)")
        return try PNGImage(path: file)
      }
      #expect(files[0] == files[1] && files[1] == files[2])
      let rows = verb == "attention" ? 2 : 3
      #expect(files[0].height == rows * 116 + 4 && files[0].width == 8 * 116 + 4)
      #expect(Set(files[0].pixels).count > 32)
    }
  }

  @Test func curvesAreSVG() throws {
    let run = try train("checkpoint.everySteps=0")
    let file = tiny.folder.file("loss.svg")
    let ended = try Program.run(["picture", "loss", run, "--output", file])
    #expect(ended.code == 0, "\(ended)")
    let text = try Files.readText(file)
    #expect(text.hasPrefix("<svg xmlns=") && text.contains("Learning rate"))
    let refused = try Program.run(["picture", "loss", run, "--output", "loss.png"])
    #expect(refused.code == 65 && refused.errorLines.count == 1, "\(refused)")
    #expect(refused.standardError.contains("curves are drawn as SVG"), "\(refused)")
  }

  @Test(arguments: [
    ["report", "/nowhere"], ["picture", "loss", "/nowhere", "--output", "x.svg"],
    ["picture", "attention", "/nowhere", "--output", "x.png"],
    ["picture", "reconstruction", "/nowhere", "--output", "x.png"],
    ["picture", "masks", "--config", "/nowhere", "--output", "x.png"],
    ["picture", "masks", "--output", "x.gif"],
  ])
  func wrongInputIsOneSentence(arguments: [String]) throws {
    let ended = try Program.run(arguments, folder: tiny.folder.path)
    #expect(ended.code == 65 && ended.errorLines.count == 1, "\(ended)")
    #expect(ended.standardError.hasPrefix("cae-dist: ") && ended.standardOutput.isEmpty, "\(ended)")
    #expect(!Files.exists(tiny.folder.file("x.png")))
  }
}
