internal import CMPI

/// An operation under way. It must be waited for before it goes out of scope; the buffer belongs
/// to the library until then.
public struct MPIRequest: ~Copyable {
  // The pieces of one operation.
  private var requests: [MPI_Request?]
  private var isComplete = false
  private let operation: String

  init(_ requests: [MPI_Request?], _ operation: String) {
    self.requests = requests
    self.operation = operation
  }

  deinit {
    precondition(isComplete, "a request of \(operation) was dropped without wait()")
  }

  /// Returns when the operation is complete and the buffer is the caller's again.
  ///
  /// Blocking. Not collective. MPI 3.1, section 3.7.5.
  public consuming func wait() throws(MPIError) {
    // Also on failure: a request that failed cannot be waited for again.
    isComplete = true
    let status = MPI_Waitall(Int32(requests.count), &requests, cmpi_ignore_statuses())
    try checked(status, operation)
  }

  /// True if the operation is complete. `wait` is still to be called, and does not block then.
  ///
  /// Not blocking; makes progress, which this library does only inside calls. MPI 3.1, section
  /// 3.7.5.
  public mutating func test() throws(MPIError) -> Bool {
    var flag: Int32 = 0
    let status = MPI_Testall(Int32(requests.count), &requests, &flag, cmpi_ignore_statuses())
    // What has failed cannot be waited for again.
    if status != MPI_SUCCESS { isComplete = true }
    try checked(status, operation)
    return flag != 0
  }

  /// Gives the operation up without an end, in a process that is about to be ended itself: the
  /// buffer still belongs to the library.
  public consuming func abandon() { isComplete = true }
}
