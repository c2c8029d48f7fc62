/// The residual connection of a transformer block: `out = x + s_b gamma branch`.
///
/// `gamma` is the layer scale `[C]` (none: 1), `s_b` the stochastic-depth factor of sample b: 0 or
/// 1 / keep probability (none: 1).
///
/// - SeeAlso: Touvron et al., arXiv:2103.17239 (layer scale); Huang et al., arXiv:1603.09382.
public enum ResidualKernel {
  /// - Parameters:
  ///   - sampleScale: `[rows / rowsPerSample]`, or nil.
  public static func forward(
    _ pool: ThreadPool, x: UnsafePointer<Float>, branch: UnsafePointer<Float>,
    gamma: UnsafePointer<Float>?, sampleScale: UnsafePointer<Float>?, rowsPerSample: Int,
    output: UnsafeMutablePointer<Float>, rows: Int, columns: Int
  ) {
    pool.runSlabs(of: rows, as: .elementwise) { slab, _ in
      for row in slab {
        let scale = Lanes(repeating: sampleScale?[row / rowsPerSample] ?? 1)
        let start = row * columns
        var column = 0
        while column + laneCount <= columns {
          let factor = gamma.map { $0.lanes(column) * scale } ?? scale
          let value = x.lanes(start + column)
            .addingProduct(factor, branch.lanes(start + column))
          output.setLanes(start + column, value)
          column += laneCount
        }
        for rest in column..<columns {
          let factor = (gamma?[rest] ?? 1) * scale[0]
          output[start + rest] = x[start + rest].addingProduct(factor, branch[start + rest])
        }
      }
    }
  }

  /// `dBranch = s_b gamma dOut`, `dGamma = sum s_b branch dOut + beta dGamma`. The gradient of `x`
  /// is `dOut` itself. Columns are split over the threads, rows are summed in order.
  public static func backward(
    _ pool: ThreadPool, dOutput: UnsafePointer<Float>, branch: UnsafePointer<Float>,
    gamma: UnsafePointer<Float>?, sampleScale: UnsafePointer<Float>?, rowsPerSample: Int,
    dBranch: UnsafeMutablePointer<Float>, dGamma: UnsafeMutablePointer<Float>?, beta: Float,
    rows: Int, columns: Int
  ) {
    pool.runSlabs(of: columns, granule: 16, as: .elementwise) { slab, _ in
      if let dGamma { scaleRow(dGamma + slab.lowerBound, by: beta, count: slab.count) }
      for row in 0..<rows {
        let scale = sampleScale?[row / rowsPerSample] ?? 1
        let start = row * columns
        for column in slab {
          let upstream = dOutput[start + column] * scale
          if let gamma, let dGamma {
            dGamma[column] += upstream * branch[start + column]
            dBranch[start + column] = upstream * gamma[column]
          } else {
            dBranch[start + column] = upstream
          }
        }
      }
    }
  }
}
