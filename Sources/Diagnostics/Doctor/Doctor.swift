import Artifacts
public import DataParallel
import Files
import Foundation
import Hardware
import Interfaces
import TensorCore
public import Training

/// `cae-dist doctor`: what may cost days on a cluster, found before the run.
public enum Doctor {
  public struct Report: Encodable, Sendable {
    public let ranks: Int
    public let hosts: Int
    public let seconds: Double
    public let checks: [DoctorCheck]

    public var lines: [String] {
      let width = checks.map(\.name.count).max() ?? 0
      let rows = checks.flatMap { check -> [String] in
        let name = check.name.padding(toLength: width, withPad: " ", startingAt: 0)
        let state = check.state.rawValue.padding(toLength: 7, withPad: " ", startingAt: 0)
        let indent = String(repeating: " ", count: width + 11)
        return ["\(name)  \(state)  \(check.found)"] + (check.advice.map { [indent + $0] } ?? [])
      }
      let counts = [DoctorCheck.State.error, .warning].map { state in
        DataPacking.counted(checks.count { $0.state == state }, state.rawValue)
      }
      return rows + [
        "\(DataPacking.counted(ranks, "rank")) on \(DataPacking.counted(hosts, "host")), \(counts.joined(separator: ", ")), "
          + String(format: "%.1f s", seconds)
      ]
    }
  }

  /// Who waits longer for a rank says so.
  private static let stallSeconds = 2.0

  /// Collective. Blocking.
  ///
  /// - Parameter report: Gets it, on rank 0.
  /// - Returns: On all ranks whether there is an error.
  public static func run(
    on cluster: Cluster, configuration: () throws -> ResolvedConfiguration,
    report: (Report) throws -> Void
  ) throws -> ExitCode {
    let started = ProcessInfo.processInfo.systemUptime
    let group = cluster.group
    // Five times as long for the first step, as which all of this counts.
    cluster.stallGuard.limit(to: stallSeconds)
    let layout = try RankLayout.gather(group)
    let (own, threads) = try Agreement(group).run { () throws -> (RankFacts, Int) in
      let resolved = try configuration()
      let threads = layout.threads(
        ofRank: group.rank, resolved.training.parallelism.threadsPerRank)
      var facts = RankFacts(of: group, configuration: try resolved.yaml, threads: threads)
      facts.cores = layout.places[group.rank].processors.count
      facts.look(at: resolved.training)
      return (facts, threads)
    }
    let pool = ThreadPool(threadCount: threads)
    let facts = try group.gather(own)
    let measured = try JobProbe(group: group, pool: pool, facts: facts).run()
    // All ranks know all of it.
    let checks = DoctorChecks(facts: facts, measured: measured).all
    if group.rank == 0 {
      try report(
        Report(
          ranks: group.worldSize, hosts: cluster.hostCount,
          seconds: ProcessInfo.processInfo.systemUptime - started, checks: checks))
    }
    return checks.contains { $0.state == .error } ? .failed : .success
  }
}

extension RankFacts {
  /// Writes as checkpoints do where the run will, and looks for its data.
  fileprivate mutating func look(at training: TrainingConfiguration) {
    for path in training.data.train + training.data.validation
    where !path.hasPrefix(DataHome.path) && !Files.exists(path) {
      folderProblems.append("\(path) does not exist")
    }
    var folder = training.run.output
    // The run makes what is missing.
    while !folder.isEmpty, !Files.exists(folder) {
      folder = folder.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        .joined(separator: "/")
    }
    let path = "\(folder.isEmpty ? "." : folder)/.cae-dist-doctor-\(hostName)-\(rank).h5"
    let started = ProcessInfo.processInfo.systemUptime
    do {
      try ArtifactWriter.write(
        to: path, tensors: [("values", Tensor(repeating: 1, shape: [1 << 18]))], attributes: [])
      _ = try ArtifactReader(path: path).tensor("values")
      syncMilliseconds = (ProcessInfo.processInfo.systemUptime - started) * 1e3
    } catch {
      folderProblems.append("\(error)")
    }
    for leftover in [path, path + ".partial"] where Files.exists(leftover) {
      try? Files.remove(leftover)
    }
  }
}
