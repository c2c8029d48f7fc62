import Glibc

/// Cross-entropy of rows of logits with one target class a row, averaged over rows.
public enum CrossEntropyKernel {
  /// What a forward pass returns.
  public struct Result: Sendable {
    /// `mean over rows of (logSumExp(z_r) - z_r[target_r])`.
    public let loss: Double
    /// Rows whose largest logit (the first of equal ones) is the target.
    public let correct: Int
  }

  /// - Parameters:
  ///   - logits: `[rows, classes]`.
  ///   - logSumExp: Saved for the backward pass, `[rows]`.
  /// - Precision: Rows in Float, their sum in Double in row order.
  public static func forward(
    _ pool: ThreadPool, logits: UnsafePointer<Float>, targets: UnsafePointer<Int32>,
    logSumExp: UnsafeMutablePointer<Float>, rows: Int, classes: Int
  ) -> Result {
    let hits = Tensor(uninitialized: [max(rows, 1)])
    pool.runSlabs(of: rows, as: .loss) { slab, _ in
      for row in slab {
        let line = logits + row * classes
        let largest = maximum(line, count: classes)
        logSumExp[row] = largest + logarithm(sumOfExponentials(line, largest, count: classes))
        hits.pointer[row] = isFirstMaximum(line, Int(targets[row]), largest) ? 1 : 0
      }
    }
    var (loss, correct) = (0.0, 0)
    for row in 0..<rows {
      loss += Double(logSumExp[row]) - Double(logits[row * classes + Int(targets[row])])
      correct += hits.pointer[row] == 1 ? 1 : 0
    }
    return Result(loss: loss / Double(rows), correct: correct)
  }

  /// `logits = scale (softmax(logits) - onehot(target))`, in place: one pass over the largest
  /// matrix of the model.
  public static func backward(
    _ pool: ThreadPool, logits: UnsafeMutablePointer<Float>, targets: UnsafePointer<Int32>,
    logSumExp: UnsafePointer<Float>, scale: Float, rows: Int, classes: Int
  ) {
    pool.runSlabs(of: rows, as: .loss) { slab, _ in
      for row in slab {
        let line = logits + row * classes
        let shift = logSumExp[row]
        VectorMath.map(classes, line, line) { VectorMath.exp($0 - shift) * scale }
        line[Int(targets[row])] -= scale
      }
    }
  }

  @inline(__always)
  static func sumOfExponentials(
    _ row: UnsafePointer<Float>, _ shift: Float, count: Int
  ) -> Float {
    var sums = Lanes.zero
    var index = 0
    while index + laneCount <= count {
      sums += VectorMath.exp(row.lanes(index) - shift)
      index += laneCount
    }
    var total = sums.total
    for rest in index..<count { total += VectorMath.exp(Lanes(repeating: row[rest] - shift))[0] }
    return total
  }

  @inline(__always)
  static func isFirstMaximum(
    _ row: UnsafePointer<Float>, _ target: Int, _ largest: Float
  ) -> Bool {
    guard row[target] == largest else { return false }
    for index in 0..<target where row[index] == largest { return false }
    return true
  }

  /// The loss by the definition, in Double.
  public static func lossReference(logits: [Float], targets: [Int32], classes: Int) -> Double {
    var loss = 0.0
    for (row, target) in targets.enumerated() {
      let line = logits[row * classes..<(row + 1) * classes].map(Double.init)
      let largest = line.max() ?? 0
      let sum = line.reduce(0) { $0 + CLibrary.exp($1 - largest) }
      loss += largest + CLibrary.log(sum) - line[Int(target)]
    }
    return loss / Double(targets.count)
  }
}

/// Mean squared difference over all elements.
public enum MeanSquaredErrorKernel {
  public static func forward(
    _ pool: ThreadPool, prediction: UnsafePointer<Float>, target: UnsafePointer<Float>, count: Int
  ) -> Double {
    ReductionKernel.sum(pool, count: count, as: .loss) { range in
      var total = 0.0
      var index = range.lowerBound
      var sums = SIMD8<Double>.zero
      while index + laneCount <= range.upperBound {
        let difference = SIMD8<Double>(prediction.lanes(index) - target.lanes(index))
        sums = sums.addingProduct(difference, difference)
        index += laneCount
      }
      total = sums.sum()
      for rest in index..<range.upperBound {
        let difference = Double(prediction[rest] - target[rest])
        total += difference * difference
      }
      return total
    } / Double(count)
  }

  /// `dPrediction = 2 scale (prediction - target) / count`, added where `accumulate`.
  public static func backward(
    _ pool: ThreadPool, prediction: UnsafePointer<Float>, target: UnsafePointer<Float>,
    scale: Float, dPrediction: UnsafeMutablePointer<Float>, accumulate: Bool, count: Int
  ) {
    let factor = 2 * scale / Float(count)
    pool.runSlabs(of: count, granule: 1024, as: .loss) { slab, _ in
      for index in slab {
        let value = factor * (prediction[index] - target[index])
        dPrediction[index] = accumulate ? dPrediction[index] + value : value
      }
    }
  }
}
