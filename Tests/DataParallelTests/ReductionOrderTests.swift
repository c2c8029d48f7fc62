import TensorCore
import Testing

@testable import DataParallel

/// Orders of summation as texts, such as ((0 + 1) + 2).
enum SumText {
  static func text(_ tree: SumTree, leaf: (Int) -> String) -> String {
    switch tree {
    case .leaf(let index): leaf(index)
    case .sum(let left, let right): "(\(text(left, leaf: leaf)) + \(text(right, leaf: leaf)))"
    }
  }

  /// What a binary counter makes of terms that come one by one: a digit that is set already is
  /// added to, and carried on. At the end the digits are added up from the lowest.
  static func counter(over terms: Range<Int>) -> String {
    var digits: [String?] = []
    for term in terms {
      var carry = "\(term)"
      var place = 0
      while place < digits.count, let digit = digits[place] {
        carry = "(\(digit) + \(carry))"
        digits[place] = nil
        place += 1
      }
      if place == digits.count { digits.append(nil) }
      digits[place] = carry
    }
    let rest = digits.compactMap { $0 }
    return rest.dropFirst().reduce(rest[0]) { "(\($1) + \($0))" }
  }
}

@Suite struct ReductionOrderTests {
  @Test func examples() {
    #expect(SumText.counter(over: 0..<4) == "((0 + 1) + (2 + 3))")
    #expect(SumText.counter(over: 0..<3) == "((0 + 1) + 2)")
    #expect(SumText.counter(over: 0..<7) == "(((0 + 1) + (2 + 3)) + ((4 + 5) + 6))")
  }

  @Test func theTreeIsABinaryCounter() {
    for count in 1...40 {
      let terms = 0..<count
      let tree = ReductionOrder.tree(over: terms, of: terms.map { $0..<$0 + 1 })
      #expect(SumText.text(tree) { "\($0)" } == SumText.counter(over: terms))
    }
  }

  /// Any cut of the terms into parts, each of which adds up its blocks, gives the same order.
  @Test func blocksOfPartsCoverTheTree() {
    for count in 1...20 {
      for start in [0, 5] {
        let root = start..<start + count
        for first in root {
          for second in first...root.upperBound {
            let parts = [start..<first, first..<second, second..<root.upperBound]
            let blocks = parts.flatMap { ReductionOrder.blocks(of: $0, in: root) }
            #expect(blocks.flatMap { $0 } == Array(root))
            let tree = ReductionOrder.tree(over: root, of: blocks)
            let text = SumText.text(tree) { SumText.counter(over: blocks[$0]) }
            #expect(text == SumText.counter(over: root))
          }
        }
      }
    }
  }

  /// A part is not cut more than the tree asks for.
  @Test func blocksAreTheLargestPossible() {
    #expect(ReductionOrder.blocks(of: 0..<8, in: 0..<8) == [0..<8])
    #expect(ReductionOrder.blocks(of: 0..<3, in: 0..<8) == [0..<2, 2..<3])
    #expect(ReductionOrder.blocks(of: 3..<8, in: 0..<8) == [3..<4, 4..<8])
    #expect(ReductionOrder.blocks(of: 2..<9, in: 0..<8) == [2..<4, 4..<8])
    #expect(ReductionOrder.blocks(of: 8..<9, in: 0..<8).isEmpty)
  }

  @Test func completedSums() {
    for index in 0..<100 {
      // Digits that a counter at `index` carries over when one more comes.
      var (value, carried) = (index, 0)
      while value % 2 == 1 { (value, carried) = (value / 2, carried + 1) }
      #expect(ReductionOrder.completedSums(byTerm: index) == carried)
    }
  }
}
