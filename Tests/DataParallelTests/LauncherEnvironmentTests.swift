import Testing

@testable import DataParallel

@Suite struct LauncherEnvironmentTests {
  private func widened(_ rank: Int, _ ranks: Int, _ more: [String: String] = [:]) -> Bool {
    let variables = [
      "OMPI_MCA_orte_bound_at_launch": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "\(rank)",
      "OMPI_COMM_WORLD_LOCAL_SIZE": "\(ranks)",
    ].merging(more) { $1 }
    return LauncherEnvironment { variables[$0] }.ranksToWiden != nil
  }

  @Test func onlyOneOrTwoRanksAreBoundToACoreByDefault() {
    #expect(widened(0, 1))
    #expect(widened(0, 2) && widened(1, 2))
    for ranks in 3...9 {
      for rank in 0..<ranks { #expect(!widened(rank, ranks)) }
    }
  }

  @Test(arguments: [
    ("hwloc_base_binding_policy", "core"), ("hwloc_base_cpu_list", "0-3"), ("orte_rankfile", "f"),
    ("rmaps_base_mapping_policy", "slot:pe=2"), ("orte_bound_at_launch", "0"),
  ])
  func aWishIsNotOverridden(name: String, value: String) {
    #expect(!widened(0, 1, ["OMPI_MCA_\(name)": value]))
  }
}
