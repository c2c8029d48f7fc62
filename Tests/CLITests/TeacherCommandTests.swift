import Files
import Foundation
import TestSupport
import Testing

/// What the program says of teachers: what they cost, what they are not.
@Suite(.serialized, .enabled(if: Program.isBuilt, Program.whyNot))
struct TeacherCommandTests {
  private struct Report: Decodable {
    let imagesPerSecond: Double
    let gflopPerImage: Double
    let stepImagesPerSecond: Double
    let wholeStepImagesPerSecond: Double
    let shareOfStep: Double
  }

  private func bench(_ file: String, _ options: String...) throws -> Ended {
    try Program.run(
      ["bench", "teacher", file, "--model", "tiny", "--images", "1", "--repeats", "1"] + options)
  }

  @Test func benchComparesATeacherWithAStep() throws {
    let ended = try bench(GoldenFile.path("efficientnet-lite.h5"), "--json")
    try #require(ended.code == 0 && ended.standardError.isEmpty, "\(ended)")
    let report = try JSONDecoder().decode(Report.self, from: Data(ended.standardOutput.utf8))
    #expect((0.01...1).contains(report.gflopPerImage))
    #expect(report.wholeStepImagesPerSecond < report.stepImagesPerSecond)
    let share = 1 - report.wholeStepImagesPerSecond / report.stepImagesPerSecond
    #expect(abs(report.shareOfStep - share) < 1e-6)
    #expect((0.001...0.99).contains(share))
  }

  @Test func whatIsNoTeacherIsNamed() throws {
    for (file, words) in [
      ("/nowhere", "/nowhere"),
      (GoldenFile.path("cae-v2-tiny.h5"), "the weights of no known teacher"),
    ] {
      let ended = try bench(file)
      #expect(ended.code == 65 && ended.errorLines.count == 1, "\(ended)")
      #expect(ended.standardError.contains(words), "\(ended)")
    }
    #expect(try bench(GoldenFile.path("efficientnet-lite.h5"), "--model", "huge").code == 65)
  }
}
