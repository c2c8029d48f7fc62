public import TensorCore

/// Adds up sums over all who have a part of a batch.
public protocol BatchReducer: AnyObject {
  /// Replaces the values by their sums. Called by all of them, in the same order.
  func sum(_ values: UnsafeMutableBufferPointer<Double>)
}

/// Mean and 1 / sqrt(variance + epsilon) of each column.
public struct BatchStatistics {
  public let mean: Tensor
  public let rstd: Tensor
  /// Rows that they are of; nil: they are constants.
  public let count: Int?

  public init(mean: Tensor, rstd: Tensor, count: Int?) {
    self.mean = mean
    self.rstd = rstd
    self.count = count
  }
}

extension Tape {
  /// `(x - mean) rstd`, x `[B, C]`; see `BatchNormKernel`. Where the statistics are the batch's,
  /// gradients flow through them, too.
  ///
  /// - Parameter reducer: Of those whose rows the statistics are of; nil: only these.
  public func batchNorm(
    _ x: Variable, _ statistics: BatchStatistics, reducer: (any BatchReducer)? = nil
  ) -> Variable {
    let y = Tensor(uninitialized: x.shape)
    BatchNormKernel.normalize(
      pool, x: x.value.pointer, mean: statistics.mean.pointer, rstd: statistics.rstd.pointer,
      y: y.pointer, rows: x.value.rows, columns: x.value.columns)
    guard records([x]) else { return .constant(y) }
    return record(
      y,
      .batchNorm(
        BatchNormRecord(
          id: x.id, y: y, rstd: statistics.rstd, count: statistics.count, reducer: reducer)))
  }
}
