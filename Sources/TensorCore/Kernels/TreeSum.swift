/// An order in which vectors are added. Floating-point sums depend on it, so it is a value.
public indirect enum SumTree: Sendable, Equatable {
  /// A source by its number.
  case leaf(Int)
  case sum(SumTree, SumTree)
}

/// Sums of vectors in a given order.
public enum TreeSumKernel {
  /// Elements that stay in the first-level cache while they are added up.
  private static let tile = 1024

  /// `destination = tree(sources)`, element by element. `destination` may be one of the sources.
  ///
  /// Runs on the calling thread. The bits of an element depend on the tree and the elements only.
  public static func sum(
    _ tree: SumTree, of sources: [UnsafePointer<Float>],
    into destination: UnsafeMutablePointer<Float>, count: Int
  ) {
    let capacity = tile * max(1, tree.height)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: capacity) { scratch in
      guard let scratch = scratch.baseAddress else { return }
      for start in stride(from: 0, to: count, by: tile) {
        let part = Part(sources: sources, start: start, count: min(tile, count - start))
        part.write(tree, to: destination + start, scratch: scratch)
      }
    }
  }

  private struct Part {
    let sources: [UnsafePointer<Float>]
    let start: Int
    let count: Int

    func write(
      _ tree: SumTree, to destination: UnsafeMutablePointer<Float>,
      scratch: UnsafeMutablePointer<Float>
    ) {
      switch tree {
      case .leaf(let index):
        let source = sources[index] + start
        if source != UnsafePointer(destination) { destination.update(from: source, count: count) }
      case .sum(let left, let right):
        let first = value(of: left, scratch: scratch)
        let second = value(of: right, scratch: scratch + TreeSumKernel.tile)
        add(first, second, into: destination)
      }
    }

    /// Where the value of a subtree is: in its source, or made in `scratch`.
    private func value(
      of tree: SumTree, scratch: UnsafeMutablePointer<Float>
    ) -> UnsafePointer<Float> {
      if case .leaf(let index) = tree { return sources[index] + start }
      write(tree, to: scratch, scratch: scratch)
      return UnsafePointer(scratch)
    }

    @inline(__always)
    private func add(
      _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>,
      into destination: UnsafeMutablePointer<Float>
    ) {
      var index = 0
      while index + laneCount <= count {
        destination.setLanes(index, a.lanes(index) + b.lanes(index))
        index += laneCount
      }
      while index < count {
        destination[index] = a[index] + b[index]
        index += 1
      }
    }
  }
}

extension SumTree {
  /// Additions on the longest way from the root to a leaf.
  var height: Int {
    switch self {
    case .leaf: 0
    case .sum(let left, let right): 1 + max(left.height, right.height)
    }
  }
}
