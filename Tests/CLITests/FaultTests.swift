import Foundation
import TestSupport
import Testing

/// What a run under mpirun says and how it ends when something goes wrong on one rank.
@Suite(.serialized, .enabled(if: Program.isLaunchable, Program.whyNotLaunched))
struct FaultTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  /// Of four ranks one suffers a fault in the third step.
  private func end(_ kind: String, set: [String] = []) throws -> Ended {
    try Program.run(
      [
        "pretrain", "--config", tiny.configuration, "--output", tiny.output, "--inject",
        "rank=2,step=3,kind=\(kind)",
      ] + set.flatMap { ["--set", $0] }, ranks: 4)
  }

  @Test(arguments: ["none", "optimizer", "gradients"])
  func gradientThatIsNotFiniteIsNamedWhereItArose(sharding: String) throws {
    let ended = try end("nan", set: ["parallelism.sharding=\(sharding)"])
    #expect(ended.code == 1, "\(ended)")
    #expect(ended.errorLines.count == 1, "\(ended)")
    #expect(ended.standardError.contains("rank 2 on "), "\(ended)")
    #expect(
      ended.standardError.contains(
        "the gradient of decoder.head.weight of step 3 is not a finite number"), "\(ended)")
    #expect(try metrics(of: tiny.output).count == 2)
  }

  @Test func flippedBitInSharedWeightsIsFoundByWhoWroteThem() throws {
    let ended = try end("bitflip")
    #expect(ended.code == 70, "\(ended)")
    #expect(ended.errorLines.count == 1, "\(ended)")
    #expect(ended.standardError.contains("are not those that the last update wrote"), "\(ended)")
    #expect(try metrics(of: tiny.output).count == 4, "found in the step after the next update")
  }

  @Test func rankThatHangsIsNamedByAllOthers() throws {
    let ended = try end("hang", set: ["parallelism.stallTimeoutSeconds=4"])
    #expect(ended.code == 76, "\(ended)")
    #expect(ended.errorLines.count == 3, "\(ended)")
    for line in ended.errorLines {
      #expect(line.contains("in step 3: rank 2 has not come"), "\(ended)")
    }
    #expect(ended.seconds < 30)
  }

  @Test func killedRankEndsTheJob() throws {
    let ended = try end("kill")
    #expect(ended.code != 0, "\(ended)")
    #expect(!Program.isAnyRunning(with: tiny.output))
  }

  @Test(
    arguments: [
      "", "rank=1", "rank=1,step=0,kind=nan", "rank=x,step=1,kind=nan", "rank=1,step=1,kind=bug",
      "rank=1,step=1,kind=nan,more=1",
    ])
  func faultThatCannotBeUnderstoodIsWrongInput(text: String) throws {
    let ended = try Program.run(
      ["pretrain", "--config", tiny.configuration, "--output", tiny.output, "--inject", text])
    #expect(ended.code == 65, "\(ended)")
    #expect(ended.errorLines.count == 1, "\(ended)")
    #expect(ended.standardError.contains("kill, hang, nan, bitflip"), "\(ended)")
  }
}
