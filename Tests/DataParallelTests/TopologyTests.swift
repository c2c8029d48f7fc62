import Testing

@testable import DataParallel

@Suite struct TopologyTests {
  @Test func oneHost() {
    let topology = Topology(hosts: [7, 7, 7])
    #expect(topology.hosts == [0..<3])
    #expect(topology.ranks == [0, 1, 2])
    #expect(topology.worldSize == 3)
  }

  /// Hosts by size, equal ones by their first rank; in a host by rank.
  @Test func largerHostsComeFirst() {
    let topology = Topology(hosts: [5, 2, 9, 2, 9, 2, 4, 1])
    #expect(topology.hosts == [0..<3, 3..<5, 5..<6, 6..<7, 7..<8])
    #expect(topology.ranks == [1, 3, 5, 2, 4, 0, 6, 7])
    #expect((0..<8).map(topology.position(ofRank:)) == [5, 0, 3, 1, 4, 2, 6, 7])
    #expect((0..<8).map(topology.host(of:)) == [0, 0, 0, 1, 1, 2, 3, 4])
  }

  @Test func numbersOfHostsDoNotMatter() {
    #expect(Topology(hosts: [0, 1, 0, 1]) == Topology(hosts: [40, 3, 40, 3]))
    #expect(Topology(hosts: [0, 1, 0, 1]).ranks == [0, 2, 1, 3])
  }

  @Test(arguments: ExchangeModel.layouts)
  func positionsAreAPermutation(hosts: [Int]) {
    let topology = Topology(hosts: hosts)
    #expect(topology.ranks.sorted() == Array(hosts.indices))
    #expect(topology.hosts.flatMap { $0 } == Array(hosts.indices))
    for (position, rank) in topology.ranks.enumerated() {
      #expect(topology.position(ofRank: rank) == position)
      #expect(topology.hosts[topology.host(of: position)].contains(position))
    }
    for host in topology.hosts { #expect(Set(host.map { hosts[topology.ranks[$0]] }).count == 1) }
    #expect(topology.hosts.count == Set(hosts).count)
  }
}
