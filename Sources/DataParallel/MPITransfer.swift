import Interfaces
import MPI

/// A message of MPI. Dropped before its end, it is abandoned: the run ends.
final class MPITransfer: Transfer {
  private var request: MPIRequest?
  private let lock: CallLock

  /// - Parameter lock: Held by whoever calls the library, so also by the caller of this.
  init(_ request: consuming MPIRequest, _ lock: CallLock) {
    self.request = consume request
    self.lock = lock
  }

  deinit { request.take()?.abandon() }

  func isComplete() throws(CollectiveError) -> Bool {
    do {
      return try lock.locked { () throws(MPIError) in
        guard try request?.test() ?? true else { return false }
        try request.take()?.wait()
        return true
      }
    } catch {
      throw CollectiveError(operation: "message", reason: error.description)
    }
  }

  /// Blocking.
  func wait() throws(MPIError) { try request.take()?.wait() }
}
