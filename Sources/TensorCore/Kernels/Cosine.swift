import Glibc

/// `1 - cos(prediction, target)` of rows, averaged over some of the tokens of each sample.
///
/// - SeeAlso: CAE v2, arXiv:2211.09799, equation 3; PyTorch's `cosine_embedding_loss`, whose 1e-12
///   below the root is beyond Float.
public enum CosineKernel {
  /// Which rows count: tokens `counted` of every `tokens` rows.
  public struct Rows: Sendable {
    public let tokens: Int
    public let counted: Range<Int>

    public init(tokens: Int, counted: Range<Int>) {
      precondition(
        counted.lowerBound >= 0 && counted.upperBound <= tokens && !counted.isEmpty,
        "tokens \(counted) of \(tokens)")
      (self.tokens, self.counted) = (tokens, counted)
    }

    func contains(_ row: Int) -> Bool { counted.contains(row % tokens) }

    /// Of `rows` rows in all.
    public func count(of rows: Int) -> Int { rows / tokens * counted.count }
  }

  /// - Parameters:
  ///   - prediction: `[rows, columns]`. - target: The same; of any length.
  ///   - cosines: Saved for the backward pass, `[rows]`.
  /// - Returns: The mean over the rows that count.
  /// - Precision: A row in Double; their sum in Double in row order.
  public static func forward(
    _ pool: ThreadPool, prediction: UnsafePointer<Float>, target: UnsafePointer<Float>,
    cosines: UnsafeMutablePointer<Float>, rows: Int, columns: Int, counts: Rows
  ) -> Double {
    pool.runSlabs(of: rows, as: .loss) { slab, _ in
      for row in slab where counts.contains(row) {
        let (a, b) = (prediction + row * columns, target + row * columns)
        cosines[row] = Float(
          dot(a, b, columns) / max(norm(a, columns) * norm(b, columns), smallest))
      }
    }
    var sum = 0.0
    for row in 0..<rows where counts.contains(row) { sum += 1 - Double(cosines[row]) }
    return sum / Double(counts.count(of: rows))
  }

  /// `prediction = -scale (t / |t| - cos p / |p|) / |p| / count`, in place; 0 where a row does not
  /// count.
  public static func backward(
    _ pool: ThreadPool, prediction: UnsafeMutablePointer<Float>, target: UnsafePointer<Float>,
    cosines: UnsafePointer<Float>, scale: Float, rows: Int, columns: Int, counts: Rows
  ) {
    let factor = Double(scale) / Double(counts.count(of: rows))
    pool.runSlabs(of: rows, as: .loss) { slab, _ in
      for row in slab {
        let (p, t) = (prediction + row * columns, target + row * columns)
        guard counts.contains(row) else {
          p.update(repeating: 0, count: columns)
          continue
        }
        let length = max(norm(p, columns), smallest)
        let own = Float(factor * Double(cosines[row]) / (length * length))
        let other = Float(
          -factor / (length * max(norm(t, columns), smallest)))
        for column in 0..<columns { p[column] = own * p[column] + other * t[column] }
      }
    }
  }

  /// Below this a row counts as 0, at right angles to all others.
  private static let smallest = 1e-12

  private static func norm(_ x: UnsafePointer<Float>, _ count: Int) -> Double {
    dot(x, x, count).squareRoot()
  }

  private static func dot(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int
  ) -> Double {
    var sums = SIMD8<Double>.zero
    var index = 0
    while index + laneCount <= count {
      sums = sums.addingProduct(SIMD8<Double>(a.lanes(index)), SIMD8<Double>(b.lanes(index)))
      index += laneCount
    }
    var total = sums.sum()
    for rest in index..<count { total += Double(a[rest]) * Double(b[rest]) }
    return total
  }
}
