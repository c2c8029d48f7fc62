/// A layer-norm input row is `x[r] + table[positions[r]]`: tokens with their fixed position.
public struct RowOffsets {
  public let table: UnsafePointer<Float>
  public let positions: UnsafePointer<Int32>

  public init(table: UnsafePointer<Float>, positions: UnsafePointer<Int32>) {
    self.table = table
    self.positions = positions
  }
}

/// Layer normalization over the last dimension.
///
/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`, population variance.
///
/// - SeeAlso: Ba et al., arXiv:1607.06450.
public enum LayerNormKernel {
  /// Rows of one partial sum of dWeight and dBias: fixed, so that the sums do not depend on the
  /// number of threads.
  private static let chunkRows = 64

  /// One group of rows of the output: row `r` of the source goes to `outputRow(r)`.
  ///
  /// A norm over concatenated token sequences is a call for each of them, which saves the copy.
  public struct Rows {
    public let count: Int
    /// Consecutive rows of a sample in the source, and in the output.
    public let perSample: Int
    public let outputPerSample: Int
    public let outputStart: Int

    public init(count: Int, perSample: Int, outputPerSample: Int, outputStart: Int) {
      self.count = count
      self.perSample = perSample
      self.outputPerSample = outputPerSample
      self.outputStart = outputStart
    }

    @inline(__always)
    func outputRow(_ row: Int) -> Int {
      let sample = row / perSample
      return sample * outputPerSample + outputStart + (row - sample * perSample)
    }
  }

  /// - Parameters:
  ///   - x: `[rows.count, C]`. `offsets`: positions indexed by the *output* row.
  ///   - y: Output `[.., C]`; mean, rstd: saved for the backward pass, by output row.
  public static func forward(
    _ pool: ThreadPool, x: UnsafePointer<Float>, rows: Rows, offsets: RowOffsets?,
    weight: UnsafePointer<Float>, bias: UnsafePointer<Float>, epsilon: Float,
    y: UnsafeMutablePointer<Float>, mean: UnsafeMutablePointer<Float>,
    rstd: UnsafeMutablePointer<Float>, columns: Int
  ) {
    pool.runSlabs(of: rows.count, as: .norms) { slab, _ in
      for row in slab {
        let out = rows.outputRow(row)
        let line = y + out * columns
        loadRow(x + row * columns, offsets, row: out, into: line, columns: columns)
        let (average, inverse) = moments(line, columns: columns, epsilon: epsilon)
        mean[out] = average
        rstd[out] = inverse
        normalize(line, average, inverse, weight, bias, columns: columns)
      }
    }
  }

  /// The output of `forward` again, from the saved mean and rstd.
  public static func restore(
    _ pool: ThreadPool, x: UnsafePointer<Float>, rows: Rows, offsets: RowOffsets?,
    weight: UnsafePointer<Float>, bias: UnsafePointer<Float>, mean: UnsafePointer<Float>,
    rstd: UnsafePointer<Float>, y: UnsafeMutablePointer<Float>, columns: Int
  ) {
    pool.runSlabs(of: rows.count, as: .norms) { slab, _ in
      for row in slab {
        let out = rows.outputRow(row)
        let line = y + out * columns
        loadRow(x + row * columns, offsets, row: out, into: line, columns: columns)
        normalize(line, mean[out], rstd[out], weight, bias, columns: columns)
      }
    }
  }

  /// `dX = rstd (g - mean(g) - xhat mean(g xhat))`, `g = dY weight`; adds to `dX` where
  /// `accumulate`. `dWeight += sum dY xhat`, `dBias += sum dY`, in chunks of 64 rows added in
  /// order, so the result is the same for any thread count.
  public static func backward(
    _ pool: ThreadPool, x: UnsafePointer<Float>, rows: Rows, offsets: RowOffsets?,
    weight: UnsafePointer<Float>, mean: UnsafePointer<Float>, rstd: UnsafePointer<Float>,
    dY: UnsafePointer<Float>, dX: UnsafeMutablePointer<Float>?, accumulate: Bool,
    dWeight: UnsafeMutablePointer<Float>, dBias: UnsafeMutablePointer<Float>, columns: Int
  ) {
    let chunks = (rows.count + chunkRows - 1) / chunkRows
    let partials = Tensor(repeating: 0, shape: [chunks, 2, columns])
    let scratch = Tensor(uninitialized: [pool.threadCount, columns])
    pool.run(chunks, as: .norms) { chunk, worker in
      let xhat = scratch.pointer + worker * columns
      let partialWeight = partials.pointer + chunk * 2 * columns
      for row in chunk * chunkRows..<min(rows.count, (chunk + 1) * chunkRows) {
        let out = rows.outputRow(row)
        loadRow(x + row * columns, offsets, row: out, into: xhat, columns: columns)
        let dLine = dY + out * columns
        let sums = standardize(
          xhat, mean[out], rstd[out], dLine, weight, partialWeight, partialWeight + columns,
          columns: columns)
        if let dX {
          inputGradient(
            dX + row * columns, dLine, xhat, weight, rstd[out], sums, accumulate: accumulate,
            columns: columns)
        }
      }
    }
    for chunk in 0..<chunks {
      let partial = partials.pointer + chunk * 2 * columns
      addRow(partial, to: dWeight, count: columns)
      addRow(partial + columns, to: dBias, count: columns)
    }
  }

  @inline(__always)
  private static func loadRow(
    _ x: UnsafePointer<Float>, _ offsets: RowOffsets?, row: Int,
    into line: UnsafeMutablePointer<Float>, columns: Int
  ) {
    line.update(from: x, count: columns)
    if let offsets {
      addRow(offsets.table + Int(offsets.positions[row]) * columns, to: line, count: columns)
    }
  }

  @inline(__always)
  private static func moments(
    _ line: UnsafePointer<Float>, columns: Int, epsilon: Float
  ) -> (mean: Float, rstd: Float) {
    var sums = Lanes.zero
    var index = 0
    while index + laneCount <= columns {
      sums += line.lanes(index)
      index += laneCount
    }
    var total = sums.total
    for rest in index..<columns { total += line[rest] }
    let mean = total / Float(columns)
    var squares = Lanes.zero
    index = 0
    while index + laneCount <= columns {
      let centred = line.lanes(index) - mean
      squares = squares.addingProduct(centred, centred)
      index += laneCount
    }
    var variance = squares.total
    for rest in index..<columns { variance += (line[rest] - mean) * (line[rest] - mean) }
    return (mean, 1 / (variance / Float(columns) + epsilon).squareRoot())
  }

  @inline(__always)
  private static func normalize(
    _ line: UnsafeMutablePointer<Float>, _ mean: Float, _ rstd: Float,
    _ weight: UnsafePointer<Float>, _ bias: UnsafePointer<Float>, columns: Int
  ) {
    var index = 0
    while index + laneCount <= columns {
      let xhat = (line.lanes(index) - mean) * rstd
      line.setLanes(index, bias.lanes(index).addingProduct(xhat, weight.lanes(index)))
      index += laneCount
    }
    for rest in index..<columns {
      line[rest] = ((line[rest] - mean) * rstd) * weight[rest] + bias[rest]
    }
  }

  /// Turns `line` into xhat, adds to the partial sums, returns (sum g, sum g xhat).
  @inline(__always)
  private static func standardize(
    _ line: UnsafeMutablePointer<Float>, _ mean: Float, _ rstd: Float,
    _ dY: UnsafePointer<Float>, _ weight: UnsafePointer<Float>,
    _ dWeight: UnsafeMutablePointer<Float>, _ dBias: UnsafeMutablePointer<Float>, columns: Int
  ) -> (g: Float, gx: Float) {
    var sumG = Lanes.zero
    var sumGX = Lanes.zero
    var index = 0
    while index + laneCount <= columns {
      let xhat = (line.lanes(index) - mean) * rstd
      let d = dY.lanes(index)
      let g = d * weight.lanes(index)
      line.setLanes(index, xhat)
      dWeight.setLanes(index, dWeight.lanes(index).addingProduct(d, xhat))
      dBias.setLanes(index, dBias.lanes(index) + d)
      sumG += g
      sumGX = sumGX.addingProduct(g, xhat)
      index += laneCount
    }
    var (g, gx) = (sumG.total, sumGX.total)
    for rest in index..<columns {
      let xhat = (line[rest] - mean) * rstd
      line[rest] = xhat
      dWeight[rest] += dY[rest] * xhat
      dBias[rest] += dY[rest]
      g += dY[rest] * weight[rest]
      gx += dY[rest] * weight[rest] * xhat
    }
    return (g, gx)
  }

  @inline(__always)
  private static func inputGradient(
    _ dX: UnsafeMutablePointer<Float>, _ dY: UnsafePointer<Float>, _ xhat: UnsafePointer<Float>,
    _ weight: UnsafePointer<Float>, _ rstd: Float, _ sums: (g: Float, gx: Float),
    accumulate: Bool, columns: Int
  ) {
    let meanG = sums.g / Float(columns)
    let meanGX = sums.gx / Float(columns)
    var index = 0
    while index + laneCount <= columns {
      let g = dY.lanes(index) * weight.lanes(index) - meanG
      let value = g.addingProduct(xhat.lanes(index), Lanes(repeating: -meanGX)) * rstd
      dX.setLanes(index, accumulate ? dX.lanes(index) + value : value)
      index += laneCount
    }
    for rest in index..<columns {
      let value = (dY[rest] * weight[rest] - meanG - xhat[rest] * meanGX) * rstd
      dX[rest] = accumulate ? dX[rest] + value : value
    }
  }

  /// `forward` without offsets by the definition, in Double.
  public static func forwardReference(
    x: [Float], weight: [Float], bias: [Float], epsilon: Double, columns: Int
  ) -> [Float] {
    var y = x
    for start in stride(from: 0, to: x.count, by: columns) {
      let row = x[start..<start + columns].map(Double.init)
      let mean = row.reduce(0, +) / Double(columns)
      let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
      for column in 0..<columns {
        let xhat = (row[column] - mean) / (variance + epsilon).squareRoot()
        y[start + column] = Float(xhat * Double(weight[column]) + Double(bias[column]))
      }
    }
    return y
  }
}
