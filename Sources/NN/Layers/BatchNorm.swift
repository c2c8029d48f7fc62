public import TensorCore

/// Batch normalization without weight and bias, with running statistics.
///
/// In training a batch is normalized by its own mean and population variance; the running mean and
/// the running *unbiased* variance move a tenth of the way to the batch's.
public final class BatchNorm {
  /// What a batch is normalized by.
  public enum Mode: Sendable {
    /// Its own statistics, which the running ones move towards.
    case training
    /// Its own statistics; the running ones stay.
    case batch
    case running
  }

  /// How far running statistics move.
  public static let momentum: Float = 0.1

  public let epsilon: Float
  /// `[C]`, from 0.
  public let runningMean: Tensor
  /// `[C]`, from 1.
  public let runningVariance: Tensor

  public init(width: Int, epsilon: Float) {
    self.epsilon = epsilon
    runningMean = Tensor(repeating: 0, shape: [width])
    runningVariance = Tensor(repeating: 1, shape: [width])
  }

  /// x `[B, C]`.
  ///
  /// - Parameter reducer: Statistics are those of all who share it; nil: of these rows alone.
  public func callAsFunction(
    _ x: Variable, _ mode: Mode, reducer: (any BatchReducer)?, _ tape: Tape
  ) -> Variable {
    tape.batchNorm(x, statistics(of: x.value, mode, reducer, tape.pool), reducer: reducer)
  }

  private func statistics(
    of x: Tensor, _ mode: Mode, _ reducer: (any BatchReducer)?, _ pool: ThreadPool
  ) -> BatchStatistics {
    let columns = x.columns
    let rstd = Tensor(uninitialized: [columns])
    if case .running = mode {
      for column in 0..<columns {
        rstd.pointer[column] = 1 / (runningVariance.pointer[column] + epsilon).squareRoot()
      }
      return BatchStatistics(mean: runningMean.copy(), rstd: rstd, count: nil)
    }
    var sums = [Double](repeating: 0, count: 2 * columns + 1)
    sums.withUnsafeMutableBufferPointer { sums in
      guard let base = sums.baseAddress else { return }
      BatchNormKernel.sums(pool, x: x.pointer, rows: x.rows, columns: columns, into: base)
      sums[2 * columns] = Double(x.rows)
      reducer?.sum(sums)
    }
    let mean = Tensor(uninitialized: [columns])
    let count = sums[2 * columns]
    for column in 0..<columns {
      let average = sums[column] / count
      let variance = max(0, sums[columns + column] / count - average * average)
      mean.pointer[column] = Float(average)
      rstd.pointer[column] = Float(1 / (variance + Double(epsilon)).squareRoot())
      guard case .training = mode else { continue }
      let unbiased = Float(variance * count / max(count - 1, 1))
      move(runningMean, column, to: Float(average))
      move(runningVariance, column, to: unbiased)
    }
    return BatchStatistics(mean: mean, rstd: rstd, count: Int(count))
  }

  private func move(_ running: Tensor, _ column: Int, to value: Float) {
    running.pointer[column] += BatchNorm.momentum * (value - running.pointer[column])
  }
}
