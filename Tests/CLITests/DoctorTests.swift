import Files
import Foundation
import TestSupport
import Testing

/// `doctor` by the program, alone and on several ranks.
@Suite(.serialized, .enabled(if: Program.isLaunchable, Program.whyNotLaunched))
struct DoctorTests {
  private struct Report: Decodable {
    struct Check: Decodable {
      let name: String
      let state: String
      let found: String
      let advice: String?
    }

    let ranks: Int
    let hosts: Int
    let seconds: Double
    let checks: [Check]
  }

  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  @Test(arguments: [nil, 3])
  func aRunIsLookedAt(ranks: Int?) throws {
    let ended = try Program.run(["doctor", "--config", tiny.configuration, "--json"], ranks: ranks)
    #expect(ended.code == 0 && ended.standardError.isEmpty, "\(ended)")
    let report = try JSONDecoder().decode(Report.self, from: Data(ended.standardOutput.utf8))
    #expect((report.ranks, report.hosts) == (ranks ?? 1, 1))
    #expect(report.seconds < 10)
    let names = report.checks.map(\.name)
    #expect(names.contains("program") && names.contains("folders") && names.contains("speed"))
    #expect(names.contains("allreduce") == (ranks != nil))
    #expect(report.checks.allSatisfy { ($0.state == "ok") == ($0.advice == nil) })
    let hidden = try Files.list(tiny.folder.path, includingHidden: true)
    #expect(!hidden.contains { $0.contains("doctor") }, "\(hidden)")
  }

  @Test func aFolderThatCannotBeWrittenIsAnError() throws {
    let ended = try Program.run(
      ["doctor", "--config", tiny.configuration, "--output", "/proc/run"], ranks: 2)
    #expect(ended.code == 1, "\(ended)")
    let row = ended.standardOutput.split(separator: "\n").first { $0.hasPrefix("folders") }
    #expect(row?.contains("error") == true && row?.contains("/proc/") == true, "\(ended)")
    #expect(ended.standardOutput.contains("2 ranks on 1 host, 1 error, "), "\(ended)")
  }

  @Test func badConfigurationIsOneSentence() throws {
    let ended = try Program.run(["doctor", "--set", "model.depht=3"], ranks: 2)
    #expect(ended.code == 65 && ended.errorLines.count == 1, "\(ended)")
    #expect(ended.standardError.contains("model.depht"), "\(ended)")
  }
}
