import Glibc
import Hardware
public import Interfaces
import MPI

/// The ranks of this job, however it was started.
public final class Cluster {
  public let group: any ProcessGroup
  /// When waiting for other ranks becomes a failure.
  public let stallGuard: StallGuard
  /// What carries messages, for the log.
  public let transport: String
  private let runtime: MPIRuntime?

  private init(
    group: any ProcessGroup, stallGuard: StallGuard, transport: String, runtime: MPIRuntime?
  ) {
    self.group = group
    self.stallGuard = stallGuard
    self.transport = transport
    self.runtime = runtime
  }

  /// Hosts of this job.
  public var hostCount: Int { Set(group.hosts).count }

  /// Joins the job that a launcher started, or goes alone where there is none.
  ///
  /// Collective over the ranks that were started together. Without a launcher MPI is not even
  /// initialized: a single process then needs no daemon, no network and no temporary folder.
  public static func join() throws(CollectiveError) -> Cluster {
    guard wasLaunched else {
      return Cluster(
        group: SingleProcessGroup(), stallGuard: StallGuard(), transport: "one process",
        runtime: nil)
    }
    widenDefaultBinding()
    yieldWhereOversubscribed()
    useTwoLinks()
    do {
      let runtime = try MPIRuntime.initialize()
      let stallGuard = StallGuard()
      return Cluster(
        group: try MPIProcessGroup(communicator: runtime.world, stallGuard: stallGuard),
        stallGuard: stallGuard, transport: try runtime.libraryVersion, runtime: runtime)
    } catch {
      throw CollectiveError(operation: "starting MPI", reason: "\(error)")
    }
  }

  /// Whether the launcher was asked for more ranks than cores, or there is none.
  public var mayOversubscribe: Bool {
    runtime == nil || getenv("OMPI_MCA_rmaps_base_oversubscribe") != nil
      || getenv("SLURM_OVERCOMMIT") != nil
  }

  /// Leaves in order. Collective: returns when all ranks have come here.
  public func leave() {
    // Nothing can be done about a failure at this point, and the exit code is decided already.
    try? (group as? MPIProcessGroup)?.close()
    try? runtime?.finalize()
  }

  /// Ends all ranks at once.
  public func abort(code: Int32) -> Never {
    if runtime != nil { MPIRuntime.abort(code: code) }
    exit(code)
  }

  /// Set by Open MPI, by PMIx and by PMI-2 launchers.
  private static var wasLaunched: Bool {
    getenv("OMPI_COMM_WORLD_SIZE") != nil || getenv("PMIX_RANK") != nil
      || getenv("PMI_RANK") != nil
  }

  /// Open MPI binds one or two ranks of a host to a core each where nobody has said anything: their
  /// threads need the others. What a scheduler has given to the launcher is never exceeded.
  private static func widenDefaultBinding() {
    let environment = LauncherEnvironment { getenv($0).map { String(cString: $0) } }
    guard let (rank, ranks) = environment.ranksToWiden, let topology = MachineTopology(),
      // Whoever has chosen more, or by another tool, has chosen.
      let own = topology.ownProcessors, topology.coreCount(in: own) == 1,
      let given = topology.processors(ofProcess: getppid())
    else { return }
    _ = topology.bind(to: topology.shares(of: given, count: ranks)[rank])
  }

  /// With one socket a peer, Open MPI's messages in both directions wait for each other: 58 to 81
  /// instead of 116 MB/s each way at 1 Gbit/s.
  private static func useTwoLinks() { setenv("OMPI_MCA_btl_tcp_links", "2", 0) }

  /// A waiting rank gives its core to others where there are more ranks than cores: Open MPI knows
  /// that only if its slots say so, and spins otherwise.
  private static func yieldWhereOversubscribed() {
    let local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE").flatMap { Int(String(cString: $0)) } ?? 1
    if local > sysconf(Int32(_SC_NPROCESSORS_ONLN)) {
      setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0)
    }
  }
}
