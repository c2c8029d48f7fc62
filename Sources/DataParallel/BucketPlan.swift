/// How a flat gradient buffer is cut into the pieces that one collective reduces.
///
/// A pure value: the same on every rank, from sizes alone.
public struct BucketPlan: Equatable, Sendable {
  /// Consecutive ranges of the buffer, in the order of exchange: the end of the buffer first,
  /// since backward fills it first.
  public let buckets: [Range<Int>]

  /// - Parameters:
  ///   - count: Floats in the buffer.
  ///   - bucketCount: Floats in a bucket; only the last one may be smaller.
  public init(count: Int, bucketCount: Int) {
    precondition(bucketCount > 0, "a bucket holds at least one value")
    buckets = stride(from: count, to: 0, by: -bucketCount).map {
      max(0, $0 - bucketCount)..<$0
    }
  }
}
