public import NN

/// How the flat layout of gradients is cut into the pieces that are exchanged one by one.
///
/// A pure value: the same on every rank, from the model alone. Buckets follow the order in which
/// backward fills them, the end of the layout first. Boundaries are those of parameters.
public struct BucketPlan: Equatable, Sendable {
  public struct Bucket: Equatable, Sendable {
    /// Places in the flat layout, padding included.
    public let range: Range<Int>
    /// Indices of its parameters.
    public let parameters: Range<Int>
  }

  /// The first one is small: the exchange begins early.
  public static let firstBytes = 1 << 20

  public let buckets: [Bucket]
  /// Number of the bucket of each parameter.
  public let bucketOfParameter: [Int]

  /// - Parameter bucketBytes: Size of a bucket; a larger parameter has one of its own.
  public init(for tree: ParameterTree, bucketBytes: Int) {
    let entries = tree.entries
    var (buckets, numbers) = ([Bucket](), Array(repeating: 0, count: entries.count))
    var (end, first) = (tree.flatCount, entries.count)
    var last = entries.count
    func close() {
      guard first < last else { return }
      let start = entries[first].parameter.offset
      for index in first..<last { numbers[index] = buckets.count }
      buckets.append(Bucket(range: start..<end, parameters: first..<last))
      (end, last) = (start, first)
    }
    for index in entries.indices.reversed() {
      let limit = buckets.isEmpty ? min(bucketBytes, BucketPlan.firstBytes) : bucketBytes
      let bytes = (end - entries[index].parameter.offset) * MemoryLayout<Float>.stride
      if bytes > limit { close() }
      first = index
    }
    close()
    self.buckets = buckets
    bucketOfParameter = numbers
  }

  /// Floats of the largest bucket.
  public var largestCount: Int { buckets.map(\.range.count).max() ?? 0 }
}
