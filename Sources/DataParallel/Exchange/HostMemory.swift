import Glibc
import Interfaces
import NN

/// What a run puts into memory that the ranks of a host share.
public enum HostMemory {
  public static let path = "/dev/shm"

  /// Bytes of the host's parameters, and of each rank's gradients.
  static func bytes(
    _ tree: ParameterTree, _ plan: BucketPlan, _ sharding: Sharding
  ) -> (parameters: Int, perRank: Int) {
    let whole = tree.flatCount * MemoryLayout<Float>.stride
    return (whole, sharding == .gradients ? SlottedGradients.byteCount(plan) : whole)
  }

  /// Collective. A sentence where some host has less than it needs; nil where all have enough.
  static func shortage(
    parameters: Int, perRank: Int, _ group: any ProcessGroup
  ) throws(CollectiveError) -> String? {
    let local = group.hosts.count { $0 == group.hosts[group.rank] }
    let needed = parameters + local * perRank
    let free = local == 1 ? Int.max : freeBytes
    let missing = try group.allReduceMaximum([Double(max(0, needed - free))])[0]
    guard missing > 0 else { return nil }
    return "warning: a host lacks \(Int(missing) / 1_000_000) MB in \(path) for memory that its "
      + "ranks share; every rank keeps its own copy of the parameters instead, "
      + "\(parameters / 1_000_000) MB each, and ranks of a host exchange messages; enlarge \(path) (docker run --shm-size, or mount -o remount,size=...)"
  }

  /// Of the file system behind shared memory.
  public static var freeBytes: Int {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return 0 }
    return Int(status.f_bavail) * Int(status.f_frsize)
  }
}
