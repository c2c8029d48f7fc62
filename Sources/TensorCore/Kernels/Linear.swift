/// Dense layers: `Y = X W^T`, with X `[rows, inputs]`, W `[outputs, inputs]`, Y `[rows, outputs]`.
public enum LinearKernel {
  /// A run of output columns that has a bias. Of several, the ones further left come first.
  public struct BiasSlice {
    public let start: Int
    public let values: UnsafePointer<Float>
    public let count: Int

    public init(start: Int, values: UnsafePointer<Float>, count: Int) {
      self.start = start
      self.values = values
      self.count = count
    }
  }

  /// `y = x W^T + b`, and where `activated` is given also `activated = GELU(y)`.
  ///
  /// The longer side of y is split over the threads.
  public static func forward(
    _ pool: ThreadPool, x: UnsafePointer<Float>, weight: UnsafePointer<Float>,
    bias: [BiasSlice], y: UnsafeMutablePointer<Float>, activated: UnsafeMutablePointer<Float>?,
    rows: Int, inputs: Int, outputs: Int
  ) {
    let rest: KernelKind = activated == nil ? .products : .activations
    runTiles(pool, rows: rows, columns: outputs, as: rest) { rows, columns, worker in
      let start = columns.lowerBound
      // The product adds to the bias: the library would clear the output in a pass of its own
      // anyway, so this one costs nothing.
      for row in rows { fillRow(y + row * outputs, columns, with: bias) }
      pool.clock?.lap(worker, .elementwise)
      BLAS.multiply(
        transposeB: true, m: rows.count, n: columns.count, k: inputs,
        x + rows.lowerBound * inputs, lda: inputs, weight + start * inputs, ldb: inputs,
        beta: bias.isEmpty ? 0 : 1, y + rows.lowerBound * outputs + start, ldc: outputs)
      guard let activated else { return }
      pool.clock?.lap(worker, .products)
      for row in rows {
        let offset = row * outputs + start
        GELUKernel.forward(y + offset, activated + offset, count: columns.count)
      }
    }
  }

  /// `dX = dY W` (`+ dX` where `accumulate`). The longer side of dX is split over the threads.
  public static func backwardInput(
    _ pool: ThreadPool, dY: UnsafePointer<Float>, weight: UnsafePointer<Float>,
    dX: UnsafeMutablePointer<Float>, accumulate: Bool, rows: Int, inputs: Int, outputs: Int
  ) {
    runTiles(pool, rows: rows, columns: inputs, as: .products) { rows, columns, _ in
      BLAS.multiply(
        m: rows.count, n: columns.count, k: outputs, dY + rows.lowerBound * outputs, lda: outputs,
        weight + columns.lowerBound, ldb: inputs, beta: accumulate ? 1 : 0,
        dX + rows.lowerBound * inputs + columns.lowerBound, ldc: inputs)
    }
  }

  /// `dW = dY^T X + beta dW`. Rows of dW are split over the threads: no reduction is needed.
  public static func backwardWeight(
    _ pool: ThreadPool, dY: UnsafePointer<Float>, x: UnsafePointer<Float>,
    dWeight: UnsafeMutablePointer<Float>, beta: Float, rows: Int, inputs: Int, outputs: Int
  ) {
    pool.runSlabs(of: outputs, granule: 4, as: .products) { slab, _ in
      BLAS.multiply(
        transposeA: true, m: slab.count, n: inputs, k: rows, dY + slab.lowerBound, lda: outputs,
        x, ldb: inputs, beta: beta, dWeight + slab.lowerBound * inputs, ldc: inputs)
    }
  }

  /// `dBias = column sums of dY[:, start ..< start + count] + beta dBias`, rows in order.
  public static func backwardBias(
    _ pool: ThreadPool, dY: UnsafePointer<Float>, start: Int, count: Int,
    dBias: UnsafeMutablePointer<Float>, beta: Float, rows: Int, outputs: Int
  ) {
    pool.runSlabs(of: count, granule: 16, as: .elementwise) { slab, _ in
      scaleRow(dBias + slab.lowerBound, by: beta, count: slab.count)
      for row in 0..<rows {
        addRow(
          dY + row * outputs + start + slab.lowerBound, to: dBias + slab.lowerBound,
          count: slab.count)
      }
    }
  }

  /// `forward` by the definition, sums in Double.
  public static func forwardReference(
    x: [Float], weight: [Float], bias: [Float]?, rows: Int, inputs: Int, outputs: Int
  ) -> [Float] {
    var y = [Float](repeating: 0, count: rows * outputs)
    for row in 0..<rows {
      for output in 0..<outputs {
        var sum = Double(bias?[output] ?? 0)
        for input in 0..<inputs {
          sum += Double(x[row * inputs + input]) * Double(weight[output * inputs + input])
        }
        y[row * outputs + output] = Float(sum)
      }
    }
    return y
  }
}

/// One slab a thread of the longer side of a product's output: each thread packs its slab of one
/// operand and the whole of the other, which then is the smaller one.
private func runTiles(
  _ pool: ThreadPool, rows: Int, columns: Int, as kind: KernelKind,
  _ body: (_ rows: Range<Int>, _ columns: Range<Int>, _ worker: Int) -> Void
) {
  if columns > rows {
    pool.runSlabs(of: columns, granule: 16, as: kind) { body(0..<rows, $0, $1) }
  } else {
    pool.runSlabs(of: rows, granule: 4, as: kind) { body($0, 0..<columns, $1) }
  }
}

/// The biases in their columns and zeros elsewhere; nothing where there are none.
private func fillRow(
  _ row: UnsafeMutablePointer<Float>, _ columns: Range<Int>, with bias: [LinearKernel.BiasSlice]
) {
  if bias.isEmpty { return }
  var end = columns.lowerBound
  for slice in bias {
    let part = (slice.start..<slice.start + slice.count).clamped(to: columns)
    if part.isEmpty { continue }
    (row + end).update(repeating: 0, count: part.lowerBound - end)
    (row + part.lowerBound).update(
      from: slice.values + (part.lowerBound - slice.start), count: part.count)
    end = part.upperBound
  }
  (row + end).update(repeating: 0, count: columns.upperBound - end)
}

/// `destination += source`.
@inline(__always)
func addRow(
  _ source: UnsafePointer<Float>, to destination: UnsafeMutablePointer<Float>, count: Int
) {
  var index = 0
  while index + laneCount <= count {
    destination.setLanes(index, destination.lanes(index) + source.lanes(index))
    index += laneCount
  }
  while index < count {
    destination[index] += source[index]
    index += 1
  }
}

/// `row = factor * row`; a factor of 0 clears, whatever was there.
@inline(__always)
func scaleRow(_ row: UnsafeMutablePointer<Float>, by factor: Float, count: Int) {
  if factor == 1 { return }
  if factor == 0 {
    row.update(repeating: 0, count: count)
    return
  }
  for index in 0..<count { row[index] *= factor }
}
