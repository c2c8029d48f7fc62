internal import CMPI

/// A group of ranks with message traffic of its own.
///
/// Collective methods are called by every rank of the communicator, in the same order. Dropping
/// the last reference frees it, which is a collective act too (MPI 3.1, section 6.4.3): let it
/// end its life at the same point of the program on all ranks.
public final class MPICommunicator: @unchecked Sendable {
  // Sendable: all properties are constant. Below thread level `multiple` callers take turns, as
  // `MPIRuntime.initialize` says.
  enum Ownership {
    /// World and self: never freed.
    case library
    case owned
  }

  /// This process in the communicator.
  public let rank: Int
  /// Number of processes in it.
  public let size: Int
  let handle: MPI_Comm
  /// Longest count handed to the library in one call; small only in tests.
  let countLimit: Int
  private let ownership: Ownership

  init(
    _ handle: MPI_Comm, ownership: Ownership, countLimit: Int = LargeCount.limit
  ) throws(MPIError) {
    var (rank, size): (Int32, Int32) = (0, 0)
    try checked(MPI_Comm_rank(handle, &rank), "MPI_Comm_rank")
    try checked(MPI_Comm_size(handle, &size), "MPI_Comm_size")
    self.rank = Int(rank)
    self.size = Int(size)
    self.handle = handle
    self.ownership = ownership
    self.countLimit = countLimit
  }

  deinit {
    guard ownership == .owned, !MPIRuntime.isFinalized else { return }
    var handle: MPI_Comm? = handle
    // Nobody is left to hear of a failure.
    _ = MPI_Comm_free(&handle)
  }

  /// The same ranks, with separate traffic.
  ///
  /// Collective. Blocking. MPI 3.1, section 6.4.2.
  public func duplicate() throws(MPIError) -> MPICommunicator {
    try duplicate(countLimit: countLimit)
  }

  func duplicate(countLimit: Int) throws(MPIError) -> MPICommunicator {
    var new: MPI_Comm? = cmpi_null_communicator()
    try checked(MPI_Comm_dup(handle, &new), "MPI_Comm_dup")
    return try MPICommunicator(
      required(new, "MPI_Comm_dup"), ownership: .owned, countLimit: countLimit)
  }

  /// One communicator for all ranks of a colour, ranked by `key` and then by rank here.
  ///
  /// Collective. Blocking. MPI 3.1, section 6.4.2.
  ///
  /// - Parameter color: Not negative; nil takes part in the call but joins none.
  /// - Returns: The communicator of the own colour, or nil.
  public func split(color: Int?, key: Int = 0) throws(MPIError) -> MPICommunicator? {
    precondition((color ?? 0) >= 0, "negative colour \(color ?? 0)")
    let code = color.map { Int32($0) } ?? cmpi_undefined()
    var new: MPI_Comm? = cmpi_null_communicator()
    try checked(MPI_Comm_split(handle, code, Int32(key), &new), "MPI_Comm_split")
    if color == nil { return nil }
    return try MPICommunicator(
      required(new, "MPI_Comm_split"), ownership: .owned, countLimit: countLimit)
  }

  /// One communicator for the ranks of each host, that is of those that can share memory.
  ///
  /// Collective. Blocking. MPI 3.1, section 6.4.2.
  public func splitByHost() throws(MPIError) -> MPICommunicator {
    var new: MPI_Comm? = cmpi_null_communicator()
    let status = MPI_Comm_split_type(
      handle, cmpi_split_by_shared_memory(), Int32(rank), cmpi_null_info(), &new)
    try checked(status, "MPI_Comm_split_type")
    return try MPICommunicator(
      required(new, "MPI_Comm_split_type"), ownership: .owned, countLimit: countLimit)
  }

  private func required(_ new: MPI_Comm?, _ operation: String) throws(MPIError) -> MPI_Comm {
    guard let new else {
      throw MPIError(.communicator, operation, "the library returned no communicator")
    }
    return new
  }
}
