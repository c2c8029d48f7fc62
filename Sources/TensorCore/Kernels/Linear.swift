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
  /// Rows are split over the threads.
  public static func forward(
    _ pool: ThreadPool, x: UnsafePointer<Float>, weight: UnsafePointer<Float>,
    bias: [BiasSlice], y: UnsafeMutablePointer<Float>, activated: UnsafeMutablePointer<Float>?,
    rows: Int, inputs: Int, outputs: Int
  ) {
    let rest: KernelKind = activated == nil ? .products : .activations
    pool.runSlabs(of: rows, granule: 4, as: rest) { slab, worker in
      let start = slab.lowerBound
      // The product adds to the bias: the library would clear the output in a pass of its own
      // anyway, so this one costs nothing.
      for row in slab { fillRow(y + row * outputs, with: bias, count: outputs) }
      pool.clock?.lap(worker, .elementwise)
      BLAS.multiply(
        transposeB: true, m: slab.count, n: outputs, k: inputs, x + start * inputs, lda: inputs,
        weight, ldb: inputs, beta: bias.isEmpty ? 0 : 1, y + start * outputs, ldc: outputs)
      guard let activated else { return }
      pool.clock?.lap(worker, .products)
      for row in slab {
        GELUKernel.forward(y + row * outputs, activated + row * outputs, count: outputs)
      }
    }
  }

  /// `dX = dY W` (`+ dX` where `accumulate`). Rows are split over the threads.
  public static func backwardInput(
    _ pool: ThreadPool, dY: UnsafePointer<Float>, weight: UnsafePointer<Float>,
    dX: UnsafeMutablePointer<Float>, accumulate: Bool, rows: Int, inputs: Int, outputs: Int
  ) {
    pool.runSlabs(of: rows, granule: 4, as: .products) { slab, _ in
      BLAS.multiply(
        m: slab.count, n: inputs, k: outputs, dY + slab.lowerBound * outputs, lda: outputs,
        weight, ldb: inputs, beta: accumulate ? 1 : 0, dX + slab.lowerBound * inputs,
        ldc: inputs)
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

/// The biases in their columns and zeros elsewhere; nothing where there are none.
private func fillRow(
  _ row: UnsafeMutablePointer<Float>, with bias: [LinearKernel.BiasSlice], count: Int
) {
  var end = 0
  for slice in bias {
    (row + end).update(repeating: 0, count: slice.start - end)
    (row + slice.start).update(from: slice.values, count: slice.count)
    end = slice.start + slice.count
  }
  if end > 0 { (row + end).update(repeating: 0, count: count - end) }
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
