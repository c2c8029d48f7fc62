import Foundation
import Hardware
import Testing

@Suite struct MachineTopologyTests {
  @Test func processorsAreWrittenAsTheKernelDoes() {
    #expect("\(ProcessorSet([3, 0, 1, 2, 16, 9, 8]))" == "0-3,8-9,16")
    #expect("\(ProcessorSet([]))" == "")
    #expect(ProcessorSet([1, 2]).intersects(ProcessorSet([2, 3])))
    #expect(!ProcessorSet([1, 2]).intersects(ProcessorSet([0, 3])))
  }

  /// What the kernel says of this process as text.
  private var allowed: String {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") } ?? ""
    return line.split(separator: "\t").last.map(String.init) ?? ""
  }

  @Test func ownProcessorsAreThoseOfTheKernel() throws {
    let topology = try #require(MachineTopology())
    let own = try #require(topology.ownProcessors)
    #expect("\(own)" == allowed)
    #expect(topology.processors(ofProcess: getpid()) == own)
    #expect((1...own.count).contains(topology.coreCount(in: own)))
    #expect(topology.processors(ofProcess: 1 << 22 - 1) == nil)
  }

  @Test func sharesAreDisjointAndTogetherAll() throws {
    let topology = try #require(MachineTopology())
    let own = try #require(topology.ownProcessors)
    let cores = topology.coreCount(in: own)
    for count in 1...cores {
      let shares = topology.shares(of: own, count: count)
      #expect(shares.count == count)
      #expect(shares.reduce(0) { $0 + $1.count } == own.count)
      #expect(ProcessorSet(shares.flatMap(\.numbers)) == own)
    }
    // Nobody gets nothing.
    #expect(topology.shares(of: own, count: cores + 1) == Array(repeating: own, count: cores + 1))
  }
}
