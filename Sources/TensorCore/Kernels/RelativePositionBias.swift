/// A learned bias of attention scores that depends on how far apart two patches lie.
///
/// The table has a row for each offset of rows and columns, and three for the class token, and a
/// column for each head.
///
/// - SeeAlso: BEiT, arXiv:2106.08254; Swin, arXiv:2103.14030.
public enum RelativePositionBiasKernel {
  /// Rows of the table: `(2 H - 1) (2 W - 1) + 3`.
  public static func tableRows(rows: Int, columns: Int) -> Int {
    (2 * rows - 1) * (2 * columns - 1) + 3
  }

  /// Row of the table for every query and key, `[T, T]` with T = 1 + H W: for patches (r, c) and
  /// (r', c') `(r - r' + H - 1) (2 W - 1) + (c - c' + W - 1)`; the last three rows are the class
  /// token to any patch, any patch to the class token, and the class token to itself.
  public static func index(rows: Int, columns: Int) -> [Int32] {
    let tokens = 1 + rows * columns
    let last = tableRows(rows: rows, columns: columns)
    return (0..<tokens * tokens).map { place in
      let (query, key) = (place / tokens - 1, place % tokens - 1)
      guard query >= 0 || key >= 0 else { return Int32(last - 1) }
      guard query >= 0 else { return Int32(last - 3) }
      guard key >= 0 else { return Int32(last - 2) }
      let down = query / columns - key / columns + rows - 1
      let right = query % columns - key % columns + columns - 1
      return Int32(down * (2 * columns - 1) + right)
    }
  }

  /// `bias[h, i, j] = table[index[i, j], h]`.
  ///
  /// - Parameters:
  ///   - table: `[entries, heads]`.
  ///   - index: `count` values, `[T, T]`.
  ///   - bias: `[heads, T, T]`.
  public static func gather(
    _ pool: ThreadPool, table: UnsafePointer<Float>, index: UnsafePointer<Int32>, count: Int,
    heads: Int, bias: UnsafeMutablePointer<Float>
  ) {
    pool.run(heads, as: .dataMovement) { head, _ in
      let target = bias + head * count
      for place in 0..<count { target[place] = table[Int(index[place]) * heads + head] }
    }
  }

  /// `dTable[e, h] = beta dTable[e, h] + sum of dBias[g, h, i, j] over g and index[i, j] = e`.
  ///
  /// Every head is one task that adds in the order of memory: the sum does not depend on the
  /// number of threads.
  ///
  /// - Parameters:
  ///   - partials: `[groups, heads, T, T]`.
  ///   - entries: Rows of the table.
  public static func scatter(
    _ pool: ThreadPool, partials: UnsafePointer<Float>, groups: Int, index: UnsafePointer<Int32>,
    count: Int, heads: Int, entries: Int, dTable: UnsafeMutablePointer<Float>, beta: Float
  ) {
    let sums = Tensor(uninitialized: [heads, entries])
    pool.run(heads, as: .dataMovement) { head, _ in
      let sum = sums.pointer + head * entries
      sum.update(repeating: 0, count: entries)
      for group in 0..<groups {
        let source = partials + (group * heads + head) * count
        for place in 0..<count { sum[Int(index[place])] += source[place] }
      }
    }
    for entry in 0..<entries {
      for head in 0..<heads {
        let value = sums.pointer[head * entries + entry]
        let old = dTable[entry * heads + head]
        dTable[entry * heads + head] = beta == 0 ? value : value + beta * old
      }
    }
  }
}
