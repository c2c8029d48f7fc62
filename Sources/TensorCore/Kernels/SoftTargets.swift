/// Targets that are spread over classes: two classes of a row, mixed and smoothed.
///
/// With C classes, share `l` and smoothing `s`, class c of a row has the target
/// `(1 - s) (l [c = first] + (1 - l) [c = second]) + s / C`.
public struct SoftTargets {
  public let first: UnsafePointer<Int32>
  public let second: UnsafePointer<Int32>
  /// Of the first class, of all rows.
  public let firstShare: Double
  public let smoothing: Double

  /// - Parameters:
  ///   - first: A class a row. - second: A class a row.
  public init(
    first: UnsafePointer<Int32>, second: UnsafePointer<Int32>, firstShare: Double,
    smoothing: Double
  ) {
    self.first = first
    self.second = second
    self.firstShare = firstShare
    self.smoothing = smoothing
  }

  /// What the first and the second class have above all others.
  fileprivate var peaks: (first: Double, second: Double) {
    ((1 - smoothing) * firstShare, (1 - smoothing) * (1 - firstShare))
  }
}

extension CrossEntropyKernel {
  /// `mean over rows of -sum_c target_c logSoftmax(z_r)_c`; a row is correct whose largest logit is
  /// the first class.
  ///
  /// - Parameters:
  ///   - logits: `[rows, classes]`.
  ///   - logSumExp: Saved for the backward pass, `[rows]`.
  /// - Precision: Log-sum-exp in Float; the rest of a row, and the sum over rows in their order, in
  ///   Double.
  public static func forward(
    _ pool: ThreadPool, logits: UnsafePointer<Float>, targets: SoftTargets,
    logSumExp: UnsafeMutablePointer<Float>, rows: Int, classes: Int
  ) -> Result {
    let (first, second) = targets.peaks
    let scratch = Tensor(uninitialized: [max(rows, 1)])
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: max(rows, 1)) { losses in
      let losses = losses.baseAddress
      pool.runSlabs(of: rows, as: .loss) { slab, _ in
        for row in slab {
          let line = logits + row * classes
          let largest = maximum(line, count: classes)
          logSumExp[row] =
            largest + logarithm(sumOfExponentials(line, largest, count: classes))
          let (a, b) = (Int(targets.first[row]), Int(targets.second[row]))
          scratch.pointer[row] = isFirstMaximum(line, a, largest) ? 1 : 0
          var mean = 0.0
          for index in 0..<classes { mean += Double(line[index]) }
          mean /= Double(classes)
          losses?[row] =
            Double(logSumExp[row]) - first * Double(line[a]) - second * Double(line[b])
            - targets.smoothing * mean
        }
      }
      var (loss, correct) = (0.0, 0)
      for row in 0..<rows {
        loss += losses?[row] ?? 0
        correct += scratch.pointer[row] == 1 ? 1 : 0
      }
      return Result(loss: loss / Double(rows), correct: correct)
    }
  }

  /// `logits = scale (softmax(logits) - target)`, in place.
  public static func backward(
    _ pool: ThreadPool, logits: UnsafeMutablePointer<Float>, targets: SoftTargets,
    logSumExp: UnsafePointer<Float>, scale: Float, rows: Int, classes: Int
  ) {
    let (first, second) = targets.peaks
    let floor = scale * Float(targets.smoothing / Double(classes))
    pool.runSlabs(of: rows, as: .loss) { slab, _ in
      for row in slab {
        let line = logits + row * classes
        let shift = logSumExp[row]
        VectorMath.map(classes, line, line) { VectorMath.exp($0 - shift) * scale - floor }
        line[Int(targets.first[row])] -= scale * Float(first)
        line[Int(targets.second[row])] -= scale * Float(second)
      }
    }
  }

  /// The loss with any targets `[rows, classes]` by the definition, in Double.
  public static func lossReference(
    logits: [Float], softTargets: [Float], classes: Int
  ) -> Double {
    let rows = logits.count / classes
    var loss = 0.0
    for row in 0..<rows {
      let line = logits[row * classes..<(row + 1) * classes].map(Double.init)
      let largest = line.max() ?? 0
      let sum = line.reduce(0) { $0 + CLibrary.exp($1 - largest) }
      for (index, logit) in line.enumerated() {
        loss -=
          Double(softTargets[row * classes + index]) * (logit - largest - CLibrary.log(sum))
      }
    }
    return loss / Double(rows)
  }
}
