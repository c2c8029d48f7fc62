public import Interfaces
public import NN

/// Sums the flat gradients of all ranks, bucket by bucket.
public final class GradientReducer {
  /// Size of a bucket, from PyTorch's experience: large enough for bandwidth.
  public static let defaultBucketBytes = 25 << 20

  private let plan: BucketPlan
  private let group: any ProcessGroup

  public init(
    gradientCount: Int, bucketBytes: Int = defaultBucketBytes, group: any ProcessGroup
  ) {
    plan = BucketPlan(
      count: gradientCount, bucketCount: max(1, bucketBytes / MemoryLayout<Float>.stride))
    self.group = group
  }

  /// Replaces the gradients by their sum over ranks, the same bits on all of them. Nothing is
  /// divided here: whoever knows how many micro-batches were summed divides once.
  ///
  /// Collective: every rank calls it with buffers of the same size. Blocking.
  public func reduce(_ gradients: FlatBuffer) throws(CollectiveError) {
    guard group.worldSize > 1 else { return }
    for bucket in plan.buckets {
      try group.allReduceSum(
        UnsafeMutableBufferPointer(
          start: gradients.pointer + bucket.lowerBound, count: bucket.count))
    }
  }
}
