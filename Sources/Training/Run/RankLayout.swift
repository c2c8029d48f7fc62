import Foundation
public import Hardware
public import Interfaces

/// Where the ranks of a job compute: the processors that each may use, and the threads it starts.
public struct RankLayout: Sendable {
  /// What a rank may use of its host.
  public struct Place: Codable, Sendable, Equatable {
    public var host: Int
    public var hostName: String
    public var processors: ProcessorSet
    /// Cores among them.
    public var cores: Int
    /// NUMA nodes.
    public var memoryNodes: [Int]
    /// CPU time of all ranks of the host together, in cores; nil: no limit.
    public var quota: Double?
  }

  /// By rank.
  public let places: [Place]

  /// - Parameter places: By rank.
  public init(places: [Place]) { self.places = places }

  /// Collective. Blocking.
  public static func gather(_ group: any ProcessGroup) throws -> RankLayout {
    RankLayout(places: try group.gather(Place.own(host: group.hosts[group.rank])))
  }

  /// Collective. Blocking: cores of this rank.
  public static func cores(of group: any ProcessGroup) throws -> Int {
    try gather(group).cores(ofRank: group.rank)
  }

  /// Cores of a process that is alone.
  public static var coresOfProcess: Int {
    RankLayout(places: [.own(host: 0)]).cores(ofRank: 0)
  }

  /// The cores that a rank has for itself: its own where it is bound, its share of those that ranks
  /// of its host may use together, and no more than the control group's time. At least one.
  public func cores(ofRank rank: Int) -> Int {
    let place = places[rank]
    let neighbours = places.filter { $0.host == place.host }
    let sharing = neighbours.count { $0.processors.intersects(place.processors) }
    let share = place.cores / max(1, sharing)
    let limit = place.quota.map { Int(max($0, 1)) / neighbours.count } ?? .max
    return max(1, min(share, limit))
  }

  /// Kernel threads of a rank: the number that is set, or for `auto` its cores.
  public func threads(ofRank rank: Int, _ setting: String) -> Int {
    ThreadCount.resolve(setting, cores: cores(ofRank: rank))
  }

  /// A host with more kernel threads than processors.
  struct Crowd: Equatable {
    let hostName: String
    let threads: Int
    let processors: Int
  }

  func crowd(_ setting: String) -> Crowd? {
    for host in Set(places.map(\.host)).sorted() {
      let ranks = places.indices.filter { places[$0].host == host }
      let threads = ranks.reduce(0) { $0 + self.threads(ofRank: $1, setting) }
      // Ranks of one set share its processors; sets that overlap in part count twice, rather than refuse.
      let processors = Set(ranks.map { places[$0].processors }).reduce(0) { $0 + $1.count }
      if threads > processors {
        return Crowd(
          hostName: places[ranks[0]].hostName, threads: threads, processors: processors)
      }
    }
    return nil
  }

  // MARK: The table

  /// A line for ranks of a host that share processors; hosts that are alike once.
  public func lines(_ setting: String) -> [String] {
    let hosts = Set(places.map(\.host)).sorted()
    var seen: [[String]: Int] = [:]
    var shown: [(names: [String], rows: [String])] = []
    for host in hosts {
      let ranks = places.indices.filter { places[$0].host == host }
      let rows = self.rows(ranks, setting)
      let name = places[ranks[0]].hostName
      if let index = seen[rows.map(\.placement)] {
        shown[index].names.append(name)
      } else {
        seen[rows.map(\.placement)] = shown.count
        shown.append(([name], rows.map { $0.text }))
      }
    }
    return shown.flatMap { names, rows in
      let more =
        names.count > 1
        ? " (and \(DataPacking.counted(names.count - 1, "host")) alike, to \(names.last ?? ""))"
        : ""
      return rows.map { "\(names[0]): \($0)\(more)" }
    }
  }

  private func rows(_ ranks: [Int], _ setting: String) -> [(placement: String, text: String)] {
    var groups: [(processors: ProcessorSet, ranks: [Int])] = []
    for rank in ranks {
      if let index = groups.firstIndex(where: { $0.processors == places[rank].processors }) {
        groups[index].ranks.append(rank)
      } else {
        groups.append((places[rank].processors, [rank]))
      }
    }
    return groups.map { processors, ranks in
      let place = places[ranks[0]]
      let threads = Set(ranks.map { self.threads(ofRank: $0, setting) }).sorted().map(String.init)
        .joined(separator: " or ")
      let nodes = place.memoryNodes.map(String.init).joined(separator: ",")
      let quota = place.quota.map { String(format: ", %.1f cores of CPU time", $0) } ?? ""
      let idle =
        setting == "auto" && cores(ofRank: ranks[0]) > ThreadCount.largest
        ? " (BLAS takes no more; start more ranks on the host)" : ""
      let placement =
        "\(threads == "1" ? "1 thread" : "\(threads) threads")\(idle) on processors \(processors) "
        + "(\(DataPacking.counted(place.cores, "core"))"
        + (nodes.isEmpty ? "" : ", NUMA \(nodes)") + quota + ")"
      let name = ranks.count == 1 ? "rank \(ranks[0])" : "ranks \(ProcessorSet(ranks))"
      return (
        "\(ranks.count) \(placement)", "\(name), \(ranks.count == 1 ? "" : "each ")\(placement)"
      )
    }
  }
}

extension RankLayout.Place {
  /// Of this process. Where the system says nothing, all processors.
  static func own(host: Int) -> RankLayout.Place {
    let name = ProcessInfo.processInfo.hostName
    let online = ProcessInfo.processInfo.processorCount
    guard let topology = MachineTopology(), let own = topology.ownProcessors else {
      return RankLayout.Place(
        host: host, hostName: name, processors: ProcessorSet(0..<online), cores: online,
        memoryNodes: [], quota: ControlGroup.cores)
    }
    return RankLayout.Place(
      host: host, hostName: name, processors: own, cores: topology.coreCount(in: own),
      memoryNodes: topology.memoryNodes(of: own), quota: ControlGroup.cores)
  }
}
