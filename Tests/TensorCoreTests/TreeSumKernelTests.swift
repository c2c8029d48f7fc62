import TestSupport
import Testing

@testable import TensorCore

@Suite struct TreeSumKernelTests {
  static let leaves = 9

  /// Trees over nine sources: one source, deep to either side, and irregular ones.
  static let trees: [SumTree] = {
    let all = (0..<leaves).map { SumTree.leaf($0) }
    let leftDeep = all.dropFirst().reduce(all[0]) { .sum($0, $1) }
    let rightDeep = all.dropLast().reversed().reduce(all[leaves - 1]) { .sum($1, $0) }
    var random = CounterRandom(seed: 3, stream: .synthetic)
    let irregular = (0..<6).map { _ in
      var parts = all.shuffled(using: &random)
      while parts.count > 1 {
        let place = random.integer(below: parts.count - 1)
        parts[place] = .sum(parts[place], parts.remove(at: place + 1))
      }
      return parts[0]
    }
    return [.leaf(4), .sum(.leaf(2), .leaf(7)), leftDeep, rightDeep] + irregular
  }()

  private func element(_ tree: SumTree, _ sources: [[Float]], _ index: Int) -> Float {
    switch tree {
    case .leaf(let leaf): sources[leaf][index]
    case .sum(let left, let right):
      element(left, sources, index) + element(right, sources, index)
    }
  }

  /// - Parameter destination: Number of a source, or the number after the last for other memory.
  private func sum(_ tree: SumTree, _ sources: [[Float]], into destination: Int) -> [Float] {
    let count = sources[0].count
    let heap = HeapAllocator()
    let memory = (0...sources.count).map { _ in heap.allocate(count: count + 1, purpose: "test") }
    // Pointers do not keep it.
    defer { withExtendedLifetime(memory) {} }
    for (values, storage) in zip(sources, memory) {
      storage.pointer.update(from: values, count: count)
    }
    // What is behind the end stays as it is.
    for storage in memory { storage.pointer[count] = 77 }
    TreeSumKernel.sum(
      tree, of: memory.dropLast().map { UnsafePointer($0.pointer) },
      into: memory[destination].pointer, count: count)
    for (index, storage) in memory.enumerated() {
      #expect(storage.pointer[count] == 77)
      if index != destination, index < sources.count {
        let kept = Array(UnsafeBufferPointer(start: storage.pointer, count: count))
        #expect(sameBits(kept, sources[index]), "source \(index) was written")
      }
    }
    return Array(UnsafeBufferPointer(start: memory[destination].pointer, count: count))
  }

  @Test(arguments: [0, 1, 7, 8, 9, 1023, 1024, 1025, 5000])
  func addsInTheOrderOfTheTree(count: Int) {
    var values = TestValues(UInt64(count))
    let sources = (0..<TreeSumKernelTests.leaves).map { _ in values.floats(count) }
    for tree in TreeSumKernelTests.trees {
      let expected = (0..<count).map { element(tree, sources, $0) }
      for destination in 0...sources.count {
        #expect(sameBits(sum(tree, sources, into: destination), expected), "\(tree)")
      }
    }
  }

  /// The trees are told apart by rounding, or the test above would say little.
  @Test func ordersDiffer() {
    var values = TestValues(1)
    let sources = (0..<TreeSumKernelTests.leaves).map { _ in values.floats(1000) }
    let sums = TreeSumKernelTests.trees.map { sum($0, sources, into: sources.count) }
    for (index, one) in sums.enumerated() {
      for other in sums[..<index] { #expect(!sameBits(one, other)) }
    }
  }
}
