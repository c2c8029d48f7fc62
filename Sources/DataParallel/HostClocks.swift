public import Interfaces

/// How far the clocks of hosts are apart.
///
/// Of each host in turn by the quickest of some messages from the first one and back, in whose middle
/// the other clock is taken to have been read: off by at most half of that trip.
///
/// - SeeAlso: Cristian, Probabilistic clock synchronization, Distributed Computing 3, 1989.
public enum HostClocks {
  private static let pings = 20

  /// The first rank of each host, in ascending order.
  public static func leaders(of group: any ProcessGroup) -> [Int] {
    let hosts = group.hosts
    return hosts.indices.filter { hosts.firstIndex(of: hosts[$0]) == $0 }
  }

  /// Seconds that the clock of each leader's host is ahead of the first one's.
  ///
  /// Collective. Blocking.
  ///
  /// - Parameter clock: Seconds.
  public static func secondsAhead(
    of group: any ProcessGroup, _ messenger: Messenger, clock: () -> Double
  ) throws(CollectiveError) -> [Double] {
    let leaders = leaders(of: group)
    var ahead = [Double](repeating: 0, count: leaders.count)
    for (host, leader) in leaders.enumerated().dropFirst() {
      if group.rank == leader {
        for _ in 0..<pings {
          _ = try messenger.receive(8, from: leaders[0])
          let bits = clock().bitPattern
          try messenger.send(
            (0..<8).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }, to: leaders[0])
        }
      } else if group.rank == leaders[0] {
        ahead[host] = try ask(leader, messenger, clock)
      }
    }
    // All others have 0, and the largest of negative values is not wanted.
    let positive = try group.allReduceMaximum(ahead.map { max($0, 0) })
    let negative = try group.allReduceMaximum(ahead.map { max(-$0, 0) })
    return zip(positive, negative).map { $0 - $1 }
  }

  private static func ask(
    _ leader: Int, _ messenger: Messenger, _ clock: () -> Double
  ) throws(CollectiveError) -> Double {
    var (quickest, ahead) = (Double.infinity, 0.0)
    for _ in 0..<pings {
      let (sent, started) = (clock(), Waiter.now())
      try messenger.send([UInt8](repeating: 0, count: 8), to: leader)
      let answer = try messenger.receive(8, from: leader)
      let seconds = Waiter.now() - started
      let bits = answer.enumerated().reduce(UInt64(0)) { $0 | UInt64($1.1) << (8 * UInt64($1.0)) }
      if seconds < quickest {
        (quickest, ahead) = (seconds, Double(bitPattern: bits) - sent - seconds / 2)
      }
    }
    return ahead
  }
}
