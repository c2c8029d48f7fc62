import Interfaces
import NN

/// Batch statistics over all ranks. A failure is kept, since the tape cannot throw.
final class GroupReducer: BatchReducer {
  private let group: any ProcessGroup
  private var failure: CollectiveError?

  init(_ group: any ProcessGroup) { self.group = group }

  func sum(_ values: UnsafeMutableBufferPointer<Double>) {
    guard failure == nil else { return }
    do throws(CollectiveError) { try group.allReduceSum(values) } catch { failure = error }
  }

  func check() throws(CollectiveError) {
    if let failure { throw failure }
  }
}
