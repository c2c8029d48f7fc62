import NN
import TensorCore
import Testing

@testable import DataParallel

@Suite struct BucketPlanTests {
  private func tree(_ counts: [Int]) -> ParameterTree {
    let tree = ParameterTree()
    for (index, count) in counts.enumerated() { _ = tree.add("p\(index)", [count], .constant(0)) }
    return tree
  }

  @Test func coversTheLayoutOnceFromTheEnd() {
    let counts = [1, 16, 17, 4096, 100_000, 3, 3, 70_001, 5000, 31, 300_000, 64]
    for counts in [counts, counts.reversed(), [5], [1, 1]] {
      let tree = tree(counts)
      for bucketBytes in [1, 64, 4096, 400_000, 1 << 20, 1 << 30] {
        let plan = BucketPlan(for: tree, bucketBytes: bucketBytes)
        var (end, last) = (tree.flatCount, counts.count)
        for (number, bucket) in plan.buckets.enumerated() {
          #expect(bucket.range.upperBound == end && bucket.parameters.upperBound == last)
          let first = tree.entries[bucket.parameters.lowerBound].parameter
          #expect(bucket.range.lowerBound == first.offset, "not at a parameter")
          #expect(bucket.parameters.allSatisfy { plan.bucketOfParameter[$0] == number })
          let limit = number == 0 ? min(bucketBytes, BucketPlan.firstBytes) : bucketBytes
          #expect(bucket.parameters.count == 1 || bucket.range.count * 4 <= limit)
          (end, last) = (bucket.range.lowerBound, bucket.parameters.lowerBound)
        }
        #expect(end == 0 && last == 0)
        #expect(plan.bucketOfParameter.count == counts.count)
        #expect(plan.largestCount == plan.buckets.map(\.range.count).max())
      }
    }
  }

  /// As full as they may be: the next parameter would not have fitted.
  @Test func bucketsAreFull() {
    let tree = tree(Array(repeating: 1600, count: 40))
    let plan = BucketPlan(for: tree, bucketBytes: 5 * 6400)
    #expect(plan.buckets.map(\.parameters.count) == Array(repeating: 5, count: 8))
  }

  @Test func theFirstIsSmall() {
    // 400 kB each.
    let tree = tree(Array(repeating: 100_000, count: 20))
    let plan = BucketPlan(for: tree, bucketBytes: 4_000_000)
    #expect(plan.buckets.map(\.parameters.count) == [2, 10, 8])
  }

  @Test func aLargeParameterIsAlone() {
    let plan = BucketPlan(for: tree([10, 10, 10_000, 10, 10]), bucketBytes: 4096)
    #expect(plan.buckets.map(\.parameters) == [3..<5, 2..<3, 0..<2])
    #expect(plan.largestCount == 10_000)
  }
}
