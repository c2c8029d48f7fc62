import TensorCore

/// The one order in which numbered terms are added up, whoever computes which of them.
///
/// A binary tree: of n terms the first p, p the largest power of two below n, are added up on
/// their own, and so are the others. It is what a binary counter does to terms that come one by
/// one. Terms 0 ..< 4 give (0 + 1) + (2 + 3), terms 0 ..< 3 give (0 + 1) + 2.
enum ReductionOrder {
  /// Where a range of terms is divided.
  static func split(_ range: Range<Int>) -> Int {
    let half = range.count - 1
    return range.lowerBound + (1 << (Int.bitWidth - 1 - half.leadingZeroBitCount))
  }

  /// The largest parts of the tree over `root` that `part` covers, in order: what can be added up
  /// without knowing any other term.
  static func blocks(of part: Range<Int>, in root: Range<Int>) -> [Range<Int>] {
    guard root.overlaps(part) else { return [] }
    if part.lowerBound <= root.lowerBound, root.upperBound <= part.upperBound { return [root] }
    let middle = split(root)
    return blocks(of: part, in: root.lowerBound..<middle)
      + blocks(of: part, in: middle..<root.upperBound)
  }

  /// The tree over `root`, where the sums of `blocks` are given: leaf i is block i.
  ///
  /// - Precondition: The blocks are parts of the tree that together cover it.
  static func tree(over root: Range<Int>, of blocks: [Range<Int>]) -> SumTree {
    if let index = blocks.firstIndex(of: root) { return .leaf(index) }
    let middle = split(root)
    return .sum(
      tree(over: root.lowerBound..<middle, of: blocks),
      tree(over: middle..<root.upperBound, of: blocks))
  }

  /// How many sums the arrival of term `index` completes in a binary counter.
  static func completedSums(byTerm index: Int) -> Int { (~index).trailingZeroBitCount }
}
