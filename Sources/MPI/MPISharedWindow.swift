internal import CMPI

/// Memory that all ranks of a communicator map: one region of each.
///
/// Freed by `free`, a collective act; what is left is freed with the run. Open MPI removes the file
/// behind it as soon as all ranks have it mapped, so a killed run leaves nothing.
public final class MPISharedWindow: @unchecked Sendable {
  // Sendable: all properties are constant; who writes which region when is the owner's business.
  /// In rank order.
  public let regions: [UnsafeMutableRawBufferPointer]
  private let handle: MPI_Win

  /// A cache line. Open MPI itself aligns to 8 bytes.
  private static let alignment = 64

  /// Zeroed memory, each region on cache lines of its own.
  ///
  /// Collective over the communicator, whose ranks are on one host; sizes may differ. Blocking.
  /// MPI 3.1, section 11.2.3.
  public init(_ communicator: MPICommunicator, byteCount: Int) throws(MPIError) {
    var info: MPI_Info? = cmpi_null_info()
    try checked(MPI_Info_create(&info), "MPI_Info_create")
    defer { MPI_Info_free(&info) }
    // Not one block from the first rank to the last, which would share pages and cache lines.
    try checked(MPI_Info_set(info, "alloc_shared_noncontig", "true"), "MPI_Info_set")
    var base: UnsafeMutableRawPointer?
    var window: MPI_Win? = cmpi_null_window()
    let allocated = byteCount == 0 ? 0 : byteCount + MPISharedWindow.alignment
    let status = withUnsafeMutablePointer(to: &base) {
      MPI_Win_allocate_shared(allocated, 1, info, communicator.handle, $0, &window)
    }
    try checked(status, "MPI_Win_allocate_shared")
    guard let window else {
      throw MPIError(.other, "MPI_Win_allocate_shared", "the library returned no window")
    }
    handle = window
    let byteCounts = try MPISharedWindow.byteCounts(communicator, own: byteCount)
    var regions: [UnsafeMutableRawBufferPointer] = []
    for rank in 0..<communicator.size {
      var (size, unit, start): (MPI_Aint, Int32, UnsafeMutableRawPointer?) = (0, 0, nil)
      let status = withUnsafeMutablePointer(to: &start) {
        MPI_Win_shared_query(window, Int32(rank), &size, &unit, $0)
      }
      try checked(status, "MPI_Win_shared_query")
      regions.append(MPISharedWindow.aligned(start, byteCount: byteCounts[rank]))
    }
    self.regions = regions
    if byteCount > 0 {
      regions[communicator.rank].initializeMemory(as: UInt8.self, repeating: 0)
    }
    try communicator.barrier()
  }

  /// The part of a region that begins at a cache line: the same on all ranks, whose mappings begin
  /// at pages.
  private static func aligned(
    _ start: UnsafeMutableRawPointer?, byteCount: Int
  ) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      start: byteCount == 0 ? nil : start?.alignedUp(toMultipleOf: alignment), count: byteCount)
  }

  /// What each rank has asked for: the library says only how much it has given, whole pages.
  private static func byteCounts(
    _ communicator: MPICommunicator, own byteCount: Int
  ) throws(MPIError) -> [Int] {
    var all = [Int64](repeating: 0, count: communicator.size)
    try [Int64(byteCount)].withUnsafeBufferPointer { (own) throws(MPIError) in
      try all.withUnsafeMutableBufferPointer { (all) throws(MPIError) in
        try communicator.allGather(own, into: all)
      }
    }
    return all.map(Int.init)
  }

  /// Unmaps the memory.
  ///
  /// Collective over the communicator. Blocking. MPI 3.1, section 11.2.5.
  public func free() throws(MPIError) {
    var window: MPI_Win? = handle
    try checked(MPI_Win_free(&window), "MPI_Win_free")
  }
}
