import Hardware
import Testing

@testable import Training

@Suite struct RankLayoutTests {
  /// Ranks of hosts by the processors of each.
  private func layout(_ hosts: [[ClosedRange<Int>]], quota: Double? = nil) -> RankLayout {
    RankLayout(
      places: hosts.enumerated().flatMap { host, ranks in
        ranks.map {
          RankLayout.Place(
            host: host, hostName: "node\(host)", processors: ProcessorSet($0), cores: $0.count,
            memoryNodes: [0], quota: quota)
        }
      })
  }

  @Test func boundRanksHaveTheirCoresAndOthersAShare() {
    #expect(layout([[0...3, 4...7]]).cores(ofRank: 1) == 4)
    #expect(layout([[0...7, 0...7]]).cores(ofRank: 1) == 4)
    // A scheduler has given 16 of the host's cores to four ranks together.
    #expect(layout([[16...31, 16...31, 16...31, 16...31]]).cores(ofRank: 2) == 4)
    #expect(layout([[0...1, 0...1, 0...1]]).cores(ofRank: 0) == 1)
    #expect(layout([[0...63], [0...7, 0...7]]).cores(ofRank: 0) == 64)
    // CPU time of a container on a large host.
    #expect(layout([[0...63, 0...63]], quota: 8).cores(ofRank: 0) == 4)
    #expect(layout([[0...63]], quota: 0.5).cores(ofRank: 0) == 1)
  }

  @Test func autoStopsAtTheLimitOfBLAS() {
    #expect(layout([[0...95]]).threads(ofRank: 0, "auto") == 64)
    #expect(layout([[0...95]]).threads(ofRank: 0, "3") == 3)
    #expect(layout([[0...95]]).lines("auto")[0].contains("BLAS takes no more"))
  }

  @Test func crowdsAreNamed() {
    let eight = layout([Array(repeating: 0...7, count: 8)])
    #expect(eight.crowd("auto") == nil)
    #expect(eight.crowd("2") == RankLayout.Crowd(hostName: "node0", threads: 16, processors: 8))
    #expect(layout([[0...3, 4...7]]).crowd("4") == nil)
    let second = layout([[0...7], [0...1, 0...1, 0...1]]).crowd("auto")
    #expect(second == RankLayout.Crowd(hostName: "node1", threads: 3, processors: 2))
  }

  @Test func hostsThatAreAlikeAreOneLine() {
    let lines = layout([[0...3, 4...7], [0...3, 4...7], [0...7, 0...7]]).lines("auto")
    #expect(
      lines == [
        "node0: rank 0, 4 threads on processors 0-3 (4 cores, NUMA 0) (and 1 host alike, to node1)",
        "node0: rank 1, 4 threads on processors 4-7 (4 cores, NUMA 0) (and 1 host alike, to node1)",
        "node2: ranks 4-5, each 4 threads on processors 0-7 (8 cores, NUMA 0)",
      ])
  }
}
