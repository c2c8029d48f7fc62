/// Which ranks are on which host.
///
/// Every rank has a *position*: hosts one after the other, the larger ones first. The order of a
/// sum follows positions, so that what a host adds up on its own is a whole part of that sum, and
/// so that the bits do not depend on how a launcher numbered the ranks.
public struct Topology: Equatable, Sendable {
  /// Positions of each host.
  public let hosts: [Range<Int>]
  /// Ranks in the order of their positions.
  public let ranks: [Int]
  private let positions: [Int]
  private let hostIndices: [Int]

  /// - Parameter hosts: A number for each rank, the same on one host.
  public init(hosts numbers: [Int]) {
    let groups = Dictionary(grouping: numbers.indices, by: { numbers[$0] }).values
      .sorted { ($1.count, $0[0]) < ($0.count, $1[0]) }
    ranks = groups.flatMap { $0 }
    var (positions, start) = (Array(repeating: 0, count: numbers.count), 0)
    for (position, rank) in ranks.enumerated() { positions[rank] = position }
    var (hosts, hostIndices): ([Range<Int>], [Int]) = ([], [])
    for group in groups {
      hostIndices += group.map { _ in hosts.count }
      hosts.append(start..<start + group.count)
      start += group.count
    }
    self.hosts = hosts
    self.positions = positions
    self.hostIndices = hostIndices
  }

  public var worldSize: Int { ranks.count }

  public func position(ofRank rank: Int) -> Int { positions[rank] }

  /// Number of the host of a position.
  public func host(of position: Int) -> Int { hostIndices[position] }
}
