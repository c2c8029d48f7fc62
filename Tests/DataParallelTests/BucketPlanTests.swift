import DataParallel
import Testing

@Suite struct BucketPlanTests {
  @Test(arguments: [1, 2, 15, 16, 17, 100, 1000], [1, 3, 16, 99, 100, 5000])
  func coversTheBufferOnceFromItsEnd(count: Int, bucketCount: Int) {
    let buckets = BucketPlan(count: count, bucketCount: bucketCount).buckets
    #expect(buckets.first?.upperBound == count)
    #expect(buckets.last?.lowerBound == 0)
    for (bucket, next) in zip(buckets, buckets.dropFirst()) {
      #expect(next.upperBound == bucket.lowerBound)
    }
    #expect(buckets.dropLast().allSatisfy { $0.count == bucketCount })
    #expect((1...bucketCount).contains(buckets.last?.count ?? 0))
  }

  @Test func ofNothingIsEmpty() {
    #expect(BucketPlan(count: 0, bucketCount: 16).buckets.isEmpty)
  }

  @Test func dependsOnSizesOnly() {
    let plan = BucketPlan(count: 1000, bucketCount: 300)
    #expect(plan == BucketPlan(count: 1000, bucketCount: 300))
    #expect(plan.buckets == [700..<1000, 400..<700, 100..<400, 0..<100])
  }
}
