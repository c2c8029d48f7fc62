/// What Open MPI tells its ranks by variables of their environment.
struct LauncherEnvironment {
  let value: (String) -> String?

  /// The local rank and the number of ranks of this host, where there are one or two that are bound by
  /// Open MPI's own default: to a core each. From three on the default is a socket.
  var ranksToWiden: (rank: Int, ranks: Int)? {
    guard value("OMPI_MCA_orte_bound_at_launch") == "1",
      let rank = value("OMPI_COMM_WORLD_LOCAL_RANK").flatMap({ Int($0) }),
      let ranks = value("OMPI_COMM_WORLD_LOCAL_SIZE").flatMap({ Int($0) }), ranks <= 2, rank < ranks
    else { return nil }
    // Each of them is a wish of the user's.
    let wishes = ["hwloc_base_binding_policy", "hwloc_base_cpu_list", "orte_rankfile"]
    guard wishes.allSatisfy({ value("OMPI_MCA_\($0)") == nil }) else { return nil }
    let mapping = value("OMPI_MCA_rmaps_base_mapping_policy") ?? ""
    return mapping.uppercased().contains("PE=") ? nil : (rank, ranks)
  }
}
