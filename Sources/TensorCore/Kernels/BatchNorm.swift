/// Batch normalization without weight and bias: of every column over the rows of a batch.
///
/// `y = (x - mean) rstd`, `rstd = 1 / sqrt(variance + epsilon)`, population variance. The sums are
/// apart from what is made of them, so that ranks can add theirs up in between.
///
/// - SeeAlso: Ioffe and Szegedy, arXiv:1502.03167.
public enum BatchNormKernel {
  /// `sums[c] = sum_r x[r, c]`, `sums[columns + c] = sum_r x[r, c]^2`.
  ///
  /// - Precision: Double, rows in order: the same for any number of threads.
  public static func sums(
    _ pool: ThreadPool, x: UnsafePointer<Float>, rows: Int, columns: Int,
    into sums: UnsafeMutablePointer<Double>
  ) {
    sums.update(repeating: 0, count: 2 * columns)
    pool.runSlabs(of: columns, granule: 16, as: .norms) { slab, _ in
      for row in 0..<rows {
        let line = x + row * columns
        for column in slab {
          let value = Double(line[column])
          sums[column] += value
          sums[columns + column] += value * value
        }
      }
    }
  }

  /// y may be x.
  public static func normalize(
    _ pool: ThreadPool, x: UnsafePointer<Float>, mean: UnsafePointer<Float>,
    rstd: UnsafePointer<Float>, y: UnsafeMutablePointer<Float>, rows: Int, columns: Int
  ) {
    pool.runSlabs(of: rows, as: .norms) { slab, _ in
      for row in slab {
        let (source, target) = (x + row * columns, y + row * columns)
        for column in 0..<columns {
          target[column] = (source[column] - mean[column]) * rstd[column]
        }
      }
    }
  }

  /// `sums[c] = sum_r dY[r, c]`, `sums[columns + c] = sum_r dY[r, c] y[r, c]`.
  public static func gradientSums(
    _ pool: ThreadPool, dY: UnsafePointer<Float>, y: UnsafePointer<Float>, rows: Int,
    columns: Int, into sums: UnsafeMutablePointer<Double>
  ) {
    sums.update(repeating: 0, count: 2 * columns)
    pool.runSlabs(of: columns, granule: 16, as: .norms) { slab, _ in
      for row in 0..<rows {
        let (gradient, line) = (dY + row * columns, y + row * columns)
        for column in slab {
          sums[column] += Double(gradient[column])
          sums[columns + column] += Double(gradient[column]) * Double(line[column])
        }
      }
    }
  }

  /// `dX = rstd (dY - mean(dY) - y mean(dY y))`, the means over `count` rows of all ranks.
  ///
  /// - Parameter sums: As `gradientSums` makes them; zero where the statistics are constants.
  public static func backward(
    _ pool: ThreadPool, dY: UnsafePointer<Float>, y: UnsafePointer<Float>,
    rstd: UnsafePointer<Float>, sums: UnsafePointer<Double>, count: Int,
    dX: UnsafeMutablePointer<Float>, rows: Int, columns: Int
  ) {
    pool.runSlabs(of: rows, as: .norms) { slab, _ in
      for row in slab {
        let start = row * columns
        for column in 0..<columns {
          let mean = Float(sums[column] / Double(count))
          let slope = Float(sums[columns + column] / Double(count))
          dX[start + column] =
            rstd[column] * (dY[start + column] - mean - y[start + column] * slope)
        }
      }
    }
  }
}
