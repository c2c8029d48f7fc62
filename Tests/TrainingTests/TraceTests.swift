import Foundation
import Hardware
import TestSupport
import Testing

@testable import Training

@Suite struct TraceTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private struct Trace: Decodable {
    struct Event: Decodable {
      var name: String
      var ph: String
      var pid: Int
      var tid: Int
      var ts: Double?
      var dur: Double?
      var args: Arguments?
    }
    struct Arguments: Decodable {
      var name: String?
      var number: Int?
    }
    var traceEvents: [Event]
  }

  private func trace(_ path: String) throws -> Trace {
    try JSONDecoder().decode(Trace.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
  }

  @Test func aTraceHasTheStepsOfAllRanksOnOneClock() throws {
    let run = try tiny.finish {
      $0.ranks = 4
      $0.set = ["run.trace=\"steps=3-4\""]
    }
    let events = try trace("\(run.output)/trace-3-4.json").traceEvents
    let names = events.filter { $0.name == "process_name" }.compactMap { $0.args?.name }
    #expect(names.count == 4)
    #expect(names.allSatisfy { $0.hasPrefix("rank ") && $0.contains(" on ") })
    for rank in 0..<4 {
      let own = events.filter { $0.pid == rank }
      let steps = own.filter { $0.name == "step" }
      #expect(steps.compactMap { $0.args?.number } == [3, 4])
      for name in [
        "forward", "backward", "wait for exchange", "update", "products", "decode", "round",
      ] {
        #expect(own.contains { $0.name == name }, "\(name) of rank \(rank)")
      }
      // What belongs to a step is within it, by the same clock.
      let first = try #require(steps.first)
      let (start, length) = (try #require(first.ts), try #require(first.dur))
      for event in own where event.name == "forward" && (event.ts ?? 0) < start + length {
        #expect((event.ts ?? -1) >= start)
      }
      #expect(start >= 0)
    }
    // Every begin of something in flight has its end.
    #expect(events.count { $0.ph == "b" } == events.count { $0.ph == "e" })
    #expect(
      try Set(FileManager.default.contentsOfDirectory(atPath: run.output)).contains(
        "trace-3-4.json"))
  }

  @Test func aTraceChangesNoBit() throws {
    let plain = try tiny.finish { $0.output = "plain" }
    let traced = try tiny.finish {
      $0.output = "traced"
      $0.set = ["run.trace=\"steps=2\""]
    }
    #expect(try plain.hash() == traced.hash())
    #expect(try trace("\(traced.output)/trace-2-2.json").traceEvents.contains { $0.name == "step" })
  }

  @Test(arguments: ["10-12", "steps=", "steps=0-3", "steps=5-4", "steps=1-2-3", "step=3"])
  func stepsThatAreNone(text: String) {
    let sentence = refusal(set: ["run.trace=\"\(text)\""])
    #expect(sentence.contains("run.trace"))
    #expect(sentence.contains("steps=10-12"))
  }
}

@Suite struct StragglersTests {
  private func layout(_ hosts: [Int]) -> RankLayout {
    RankLayout(
      places: hosts.enumerated().map { rank, host in
        RankLayout.Place(
          host: host, hostName: "node\(host)", processors: ProcessorSet(rank..<rank + 1), cores: 1,
          memoryNodes: [], quota: nil)
      })
  }

  @Test func aSlowHostIsNamedOnce() throws {
    var stragglers = Stragglers(layout([0, 0, 1, 1]), threads: "1")
    let finding = try #require(stragglers.finding([0.1, 0.1, 0.1, 0.121]))
    #expect(finding.place == "node1, rank 3")
    #expect(finding.fastest.hasPrefix("node0"))
    let sentence = stragglers.sentence(finding, step: 20) ?? ""
    #expect(sentence.contains("node1, rank 3 is slow"))
    #expect(sentence.contains("121 ms, 21 % more"))
    #expect(sentence.contains("21 ms of every step are lost"))
    #expect(stragglers.sentence(finding, step: 40) == nil)
    // Named again when it has been well meanwhile.
    let well = try #require(stragglers.finding([0.1, 0.1, 0.1, 0.105]))
    #expect(stragglers.sentence(well, step: 60) == nil)
    #expect(stragglers.sentence(finding, step: 80) != nil)
  }

  @Test func onOneHostItIsARank() throws {
    let finding = try #require(Stragglers(layout([0, 0]), threads: "1").finding([0.3, 0.2]))
    #expect(finding.place == "rank 0")
  }

  @Test func ranksThatShareCoresAreNotNamed() throws {
    var stragglers = Stragglers(layout([0, 0]), threads: "4")
    let finding = try #require(stragglers.finding([0.3, 0.2]))
    #expect(stragglers.sentence(finding, step: 20) == nil)
  }

  @Test func ownTimesAreInTheMetricsEveryTwentySteps() throws {
    let tiny = try TinyRun()
    let run = try tiny.finish {
      $0.ranks = 2
      $0.set = ["schedule.epochs=8"]
    }
    let metrics = try run.metrics()
    let steps = metrics.filter { $0["slowestOwnMilliseconds"] != nil }.map(\.step)
    #expect(!steps.isEmpty)
    #expect(steps == steps.indices.map { 20 * ($0 + 1) })
  }
}
