public import DataParallel
import Foundation
import Interfaces

/// Runs a program on all ranks and ends all of them together.
public enum ClusterRuntime {
  /// Joins the ranks that `mpirun` started (or goes alone), runs `body`, prints at most one
  /// sentence, and ends the process with the same code on every rank.
  ///
  /// A failure that the ranks have agreed on ends them all in order. Any other one on a single
  /// rank takes the job down with it, since the others may wait for that rank in a collective.
  public static func run(_ body: (Cluster) throws -> ExitCode) -> Never {
    let cluster: Cluster
    do {
      cluster = try Cluster.join()
    } catch {
      report("\(error)", rank: nil)
      exit(ExitCode.rankLost.rawValue)
    }
    do {
      let code = try body(cluster)
      cluster.leave()
      exit(code.rawValue)
    } catch let failure as AgreedFailure {
      if failure.isMine { report(failure.text, rank: failure.rank == 0 ? nil : failure.rank) }
      cluster.leave()
      exit(failure.code.rawValue)
    } catch {
      report("\(error)", rank: cluster.group.worldSize > 1 ? cluster.group.rank : nil)
      // All who wait for the same rank say so, before the first of them ends the others.
      if let error = error as? CollectiveError, error.isStall { sleep(2) }
      cluster.abort(code: ExitCode(for: error).rawValue)
    }
  }

  /// The one place that prints errors.
  public static func report(_ text: String, rank: Int?) {
    let place = rank.map { "rank \($0) on \(ProcessInfo.processInfo.hostName): " } ?? ""
    FileHandle.standardError.write(Data("cae-dist: \(place)\(text)\n".utf8))
  }
}
