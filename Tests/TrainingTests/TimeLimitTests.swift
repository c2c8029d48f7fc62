import Interfaces
import Models
import Testing

@testable import Training

@Suite struct TimeLimitTests {
  /// As in the manual of sbatch.
  static let forms: [(text: String, seconds: Double)] = [
    ("90", 5400), ("90:30", 5430), ("11:30:00", 41400), ("0:00:01", 1), ("100:00:00", 360_000),
    ("2-12", 216_000), ("2-12:30", 217_800), ("2-12:30:15", 217_815), ("0-1", 3600), ("0:1", 1),
  ]

  @Test(arguments: forms)
  func formsOfSbatch(text: String, seconds: Double) throws {
    #expect(try TimeLimit.seconds(of: text, key: "run.timeLimit") == seconds)
  }

  /// YAML 1.1 takes 11:30:00 for the number 41400, and others for dates.
  @Test(arguments: forms)
  func yamlKeepsThemAsTheyAreWritten(text: String, seconds: Double) throws {
    let data = "data: {train: [shards]}\n"
    for written in [text, "\"\(text)\"", "'\(text)'"] {
      for resolved in [
        try resolve(data + "run: {timeLimit: \(written)}\n"),
        try resolve(data + "run:\n  timeLimit: \(written)\n"),
        try resolve(set: ["run.timeLimit=\(written)"]),
      ] {
        #expect(resolved.training.run.timeLimit == text)
        // And through the file in the output folder.
        let again = try resolve(try resolved.yaml)
        #expect(again.training.run.timeLimit == text)
      }
    }
  }

  @Test func noneByDefault() throws {
    #expect(try resolve().training.run.timeLimit == "")
    #expect(try TimeLimit.seconds(of: "", key: "run.timeLimit") == nil)
    #expect(try resolve(set: ["run.timeLimit="]).training.run.timeLimit == "")
  }

  @Test(arguments: [
    "0", "0:00", "0-0", "1:2:3:4", "1-2-3", "-1", "1-", ":30", "30:", "1.5", "1e3", "2h", "+5",
    "1-1:1:1:1", "9999999999", "infinite",
  ])
  func othersAreRefused(text: String) {
    #expect(
      refusal(set: ["run.timeLimit='\(text)'"]).hasPrefix(
        "run.timeLimit: \(text) is not a time above 0 as sbatch --time takes it"))
  }

  @Test func mayChangeOnResume() throws {
    let saved = try resolve(set: ["run.timeLimit=11:30:00"]).yaml
    try resolve(set: ["run.timeLimit=1-0"]).requireResumable(from: saved, path: "saved")
    try resolve().requireResumable(from: saved, path: "saved")
  }
}
