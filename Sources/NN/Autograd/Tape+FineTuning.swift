import TensorCore

/// Where in the table of relative position biases every query and key of a grid looks.
public final class RelativePositionIndex: Sendable {
  public let rows: Int
  public let columns: Int
  /// `[T, T]`, T = 1 + rows * columns: the class token first.
  let indices: TokenIndices

  public init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    indices = TokenIndices(RelativePositionBiasKernel.index(rows: rows, columns: columns))
  }

  public var tokens: Int { 1 + rows * columns }
  /// Rows of a table.
  public var tableRows: Int {
    RelativePositionBiasKernel.tableRows(rows: rows, columns: columns)
  }
}

/// A learned bias of attention scores, `[tableRows, heads]`. See `RelativePositionBiasKernel`.
public struct RelativePositionBias {
  public let table: Parameter
  public let index: RelativePositionIndex

  public init(table: Parameter, index: RelativePositionIndex) {
    self.table = table
    self.index = index
  }

  /// The bias of every head, `[heads, T, T]`.
  func values(on tape: Tape, _ shape: AttentionShape) -> Tensor {
    precondition(
      shape.queries == index.tokens && shape.keys == index.tokens,
      "\(shape.queries) queries and \(shape.keys) keys, but positions of \(index.tokens) tokens")
    let bias = Tensor(uninitialized: [shape.heads, index.tokens, index.tokens])
    index.indices.withUnsafePointer {
      RelativePositionBiasKernel.gather(
        tape.pool, table: tape.parameters.pointer(table), index: $0, count: index.indices.count,
        heads: shape.heads, bias: bias.pointer)
    }
    return bias
  }
}

/// Target classes of a mixed batch; see `SoftTargets`.
public struct MixedTargets: Sendable {
  public let first: TokenIndices
  public let second: TokenIndices
  /// Of the first class.
  public let firstShare: Double
  public let smoothing: Double

  /// - Parameters:
  ///   - first: A class a row. - second: A class a row.
  public init(
    first: TokenIndices, second: TokenIndices, firstShare: Double, smoothing: Double
  ) {
    self.first = first
    self.second = second
    self.firstShare = firstShare
    self.smoothing = smoothing
  }

  /// - Parameter body: Gets pointers that are valid during the call only.
  func withSoftTargets<Result>(_ body: (SoftTargets) -> Result) -> Result {
    first.withUnsafePointer { first in
      second.withUnsafePointer { second in
        body(
          SoftTargets(
            first: first, second: second, firstShare: firstShare, smoothing: smoothing))
      }
    }
  }
}

extension Tape {
  /// Mean of the tokens from `start` on, x `[B, T, C]`: `[B, 1, C]`.
  public func meanOfTokens(_ x: Variable, start: Int = 1) -> Variable {
    let (batch, tokens, columns) = (x.shape[0], x.shape[1], x.shape[2])
    precondition(start < tokens, "no token from \(start) on of \(tokens)")
    let output = Tensor(uninitialized: [batch, 1, columns])
    TokenKernel.mean(
      pool, x: x.value.pointer, tokens: tokens, start: start, output: output.pointer,
      batch: batch, columns: columns)
    guard records([x]) else { return .constant(output) }
    return record(
      output, .meanOfTokens(MeanOfTokensRecord(id: x.id, shape: x.shape, start: start)))
  }

  /// Mean cross-entropy of logits `[.., classes]` with mixed and smoothed targets, and the number
  /// of rows whose largest logit is the first class.
  ///
  /// Backward overwrites the logits with their gradient.
  public func crossEntropy(
    _ logits: Variable, targets: MixedTargets
  ) -> (loss: ScalarVariable, correct: Int) {
    let rows = targets.first.count
    precondition(
      logits.value.rows == rows && targets.second.count == rows, "two targets a row of logits")
    let logSumExp = Tensor(uninitialized: [rows])
    let result = targets.withSoftTargets {
      CrossEntropyKernel.forward(
        pool, logits: logits.value.pointer, targets: $0, logSumExp: logSumExp.pointer, rows: rows,
        classes: logits.value.columns)
    }
    let record = SoftCrossEntropyRecord(
      logits: logits, targets: targets, logSumExp: logSumExp)
    return (scalar(result.loss, of: [logits], .softCrossEntropy(record)), result.correct)
  }
}
