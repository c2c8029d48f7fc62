import DataParallel
import Interfaces
import NN
import TensorCore
import Testing

@Suite struct GradientReducerTests {
  private static let shapes: [Shape] = [[3, 5], [7], [1, 1, 9], [40, 11]]

  /// The gradients that a rank computes: values whose sum depends on the order.
  private static func gradients(ofRank rank: Int) -> FlatBuffer {
    let tree = ParameterTree()
    for (index, shape) in shapes.enumerated() {
      _ = tree.add("parameter\(index)", shape, .constant(0))
    }
    let buffer = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "gradients")
    for index in 0..<buffer.count { buffer.pointer[index] = 1 / Float(3 + index + 17 * rank) }
    return buffer
  }

  private static func values(_ buffer: FlatBuffer) -> [Float] {
    Array(UnsafeBufferPointer(start: buffer.pointer, count: buffer.count))
  }

  @Test(arguments: [1, 2, 3, 4], [4, 64, 1000, GradientReducer.defaultBucketBytes])
  func isThePlainSumOnEveryRank(worldSize: Int, bucketBytes: Int) throws {
    let parts = (0..<worldSize).map { Self.values(Self.gradients(ofRank: $0)) }
    let expected = parts.dropFirst().reduce(parts[0]) { zip($0, $1).map(+) }
    let reduced = try ThreadProcessGroup.run(count: worldSize) { group in
      let buffer = Self.gradients(ofRank: group.rank)
      let reducer = GradientReducer(
        gradientCount: buffer.count, bucketBytes: bucketBytes, group: group)
      try reducer.reduce(buffer)
      return Self.values(buffer)
    }
    // Threads add in rank order, so even the bits agree.
    #expect(reduced.allSatisfy { $0 == expected })
  }

  @Test func oneRankKeepsItsGradients() throws {
    let buffer = Self.gradients(ofRank: 0)
    let before = Self.values(buffer)
    try GradientReducer(gradientCount: buffer.count, group: SingleProcessGroup()).reduce(buffer)
    #expect(Self.values(buffer) == before)
  }

  @Test func aRankThatIsGoneEndsTheExchange() throws {
    #expect(throws: CollectiveError.self) {
      try ThreadProcessGroup.run(count: 2) { group in
        guard group.rank == 0 else { return }
        let buffer = Self.gradients(ofRank: 0)
        try GradientReducer(gradientCount: buffer.count, group: group).reduce(buffer)
      }
    }
  }
}
