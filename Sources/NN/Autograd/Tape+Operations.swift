public import TensorCore

/// Indices that go with rows of a matrix: patch positions, target classes.
public final class TokenIndices: Sendable {
  public let values: [Int32]

  public init(_ values: [Int32]) { self.values = values }

  public var count: Int { values.count }

  /// - Parameter body: Gets a pointer that is valid during the call only.
  func withUnsafePointer<Result>(_ body: (UnsafePointer<Int32>) -> Result) -> Result {
    values.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else {
        preconditionFailure("an operation on zero rows")
      }
      return body(base)
    }
  }
}

/// Rows of a fixed table, one for each row of a matrix.
public struct Positions {
  /// `[positions, C]`.
  public let table: Tensor
  private let memory: IndexMemory

  /// - Parameter indices: One row of the table for each row that it is added to.
  public init(table: Tensor, indices: [Int32]) {
    self.table = table
    memory = IndexMemory(indices)
  }

  public var count: Int { memory.buffer.count }

  var rowOffsets: RowOffsets {
    RowOffsets(table: table.pointer, positions: UnsafePointer(memory.pointer))
  }

  var indexPointer: UnsafePointer<Int32> { UnsafePointer(memory.pointer) }
}

/// Indices at a constant address, so that kernels can keep the pointer while a record lives.
private final class IndexMemory {
  let buffer: UnsafeMutableBufferPointer<Int32>

  init(_ indices: [Int32]) {
    buffer = .allocate(capacity: max(indices.count, 1))
    _ = buffer.initialize(from: indices)
  }

  var pointer: UnsafeMutablePointer<Int32> { buffer.baseAddress! }

  deinit { buffer.deallocate() }
}

/// A bias for output columns `start ..< start + parameter.count` of a linear operation.
public struct BiasSlice {
  public let start: Int
  public let parameter: Parameter

  public init(start: Int = 0, _ parameter: Parameter) {
    self.start = start
    self.parameter = parameter
  }
}

/// One of q, k, v: columns `column ..< column + heads * headDim` of a `[B, T, *]` variable.
public struct AttentionInput {
  public let variable: Variable
  public let column: Int

  public init(_ variable: Variable, column: Int = 0) {
    self.variable = variable
    self.column = column
  }

  var operand: AttentionOperand { operand(in: variable.value) }

  func operand(in tensor: Tensor) -> AttentionOperand {
    AttentionOperand(pointer: tensor.pointer + column, rowStride: tensor.columns)
  }
}

public enum Activation: Sendable {
  case none
  case gelu
}

extension Tape {
  /// `y = activation(x W^T + b)`, x `[.., inputs]`, W `[outputs, inputs]`, y `[.., outputs]`.
  public func linear(
    _ x: Variable, weight: Parameter, bias: [BiasSlice] = [], activation: Activation = .none
  ) -> Variable {
    let outputs = weight.shape[0]
    let inputs = weight.count / outputs
    precondition(
      x.value.columns == inputs, "\(weight.name) takes \(inputs) inputs, not \(x.value.columns)")
    let rows = x.value.rows
    let shape = Shape(x.shape.dimensions.dropLast() + [outputs])
    let z = Tensor(uninitialized: shape)
    let activated = activation == .gelu ? Tensor(uninitialized: shape) : nil
    LinearKernel.forward(
      pool, x: x.value.pointer, weight: parameters.pointer(weight),
      bias: bias.map {
        LinearKernel.BiasSlice(
          start: $0.start, values: parameters.pointer($0.parameter), count: $0.parameter.count)
      }, y: z.pointer, activated: activated?.pointer, rows: rows, inputs: inputs, outputs: outputs)
    let y = activated ?? z
    guard records([x], [weight] + bias.map(\.parameter)) else { return .constant(y) }
    let operation = LinearRecord(
      x: SavedInput(x), weight: weight, bias: bias, preActivation: activated == nil ? nil : z)
    return record(
      y, .linear(operation), saved: activated == nil ? nil : .activated(preActivation: z))
  }

  /// Layer norm of the sequences `sources`, `[B, T_i, C]`, concatenated along T, after adding the
  /// rows of `positions` (one for each row of the result).
  public func layerNorm(
    _ sources: [Variable], positions: Positions? = nil, weight: Parameter, bias: Parameter,
    epsilon: Float
  ) -> Variable {
    let columns = weight.count
    let batch = sources[0].shape[0]
    let tokens = sources.reduce(0) { $0 + $1.shape[1] }
    precondition(positions.map { $0.count == batch * tokens } ?? true, "one position a row")
    let y = Tensor(uninitialized: [batch, tokens, columns])
    let mean = Tensor(uninitialized: [batch * tokens])
    let rstd = Tensor(uninitialized: [batch * tokens])
    var rows: [LayerNormKernel.Rows] = []
    var start = 0
    for source in sources {
      let part = LayerNormKernel.Rows(
        count: batch * source.shape[1], perSample: source.shape[1], outputPerSample: tokens,
        outputStart: start)
      LayerNormKernel.forward(
        pool, x: source.value.pointer, rows: part, offsets: positions?.rowOffsets,
        weight: parameters.pointer(weight), bias: parameters.pointer(bias), epsilon: epsilon,
        y: y.pointer, mean: mean.pointer, rstd: rstd.pointer, columns: columns)
      rows.append(part)
      start += source.shape[1]
    }
    guard records(sources, [weight, bias]) else { return .constant(y) }
    let operation = LayerNormRecord(
      sources: sources.map(SavedInput.init), rows: rows, offsets: positions, weight: weight,
      bias: bias, mean: mean, rstd: rstd)
    return record(y, .layerNorm(operation), saved: .normalized(operation))
  }

  /// `softmax(q k^T / sqrt(headDim) + bias) v` for all heads: `[B, Tq, heads * headDim]`.
  public func attention(
    q: AttentionInput, k: AttentionInput, v: AttentionInput, heads: Int, headDim: Int,
    bias: RelativePositionBias? = nil
  ) -> Variable {
    let shape = AttentionShape(
      batch: q.variable.shape[0], heads: heads, headDim: headDim, queries: q.variable.shape[1],
      keys: k.variable.shape[1])
    let output = Tensor(uninitialized: [shape.batch, shape.queries, heads * headDim])
    let logSumExp = Tensor(uninitialized: [shape.logSumExpCount])
    let values = bias.map { $0.values(on: self, shape) }
    AttentionKernel.forward(
      pool, shape, q: q.operand, k: k.operand, v: v.operand,
      bias: values.map { UnsafePointer($0.pointer) },
      output: AttentionOperand(pointer: output.pointer, rowStride: output.columns),
      logSumExp: logSumExp.pointer)
    let inputs = [q.variable, k.variable, v.variable]
    guard records(inputs, bias.map { [$0.table] } ?? []) else { return .constant(output) }
    return record(
      output,
      .attention(
        AttentionRecord(
          shape: shape, q: q, k: k, v: v, bias: bias, output: output, logSumExp: logSumExp)))
  }

  /// `x + s gamma branch`: layer scale `gamma` `[C]` and a stochastic-depth factor a sample.
  public func residual(
    _ x: Variable, _ branch: Variable, gamma: Parameter?, sampleScale: Tensor?
  ) -> Variable {
    let (rows, columns) = (x.value.rows, x.value.columns)
    let output = Tensor(uninitialized: x.shape)
    ResidualKernel.forward(
      pool, x: x.value.pointer, branch: branch.value.pointer,
      gamma: gamma.map { UnsafePointer(parameters.pointer($0)) },
      sampleScale: sampleScale.map { UnsafePointer($0.pointer) }, rowsPerSample: x.shape[1],
      output: output.pointer, rows: rows, columns: columns)
    guard records([x, branch], gamma.map { [$0] } ?? []) else { return .constant(output) }
    let operation = ResidualRecord(
      x: SavedInput(x), branch: SavedInput(branch), gamma: gamma, sampleScale: sampleScale,
      rowsPerSample: x.shape[1])
    // Every other output of a row of residual connections is kept, or making one again would
    // make all those before it.
    let isCheap = operation.x.value.isKept && operation.branch.value.isKept
    return record(output, .residual(operation), saved: isCheap ? .summed(operation) : nil)
  }

  /// `[prefix ; x + positions]` for each sample, x `[B, T, C]`; the learned prefix token, if any,
  /// has position zero.
  public func addPositions(
    _ x: Variable, _ positions: Positions, prefix: Parameter? = nil
  ) -> Variable {
    let (batch, count, columns) = (x.shape[0], x.shape[1], x.shape[2])
    precondition(positions.count == batch * count, "one position a row")
    let extra = prefix == nil ? 0 : 1
    let output = Tensor(uninitialized: [batch, count + extra, columns])
    TokenKernel.addPositions(
      pool, x: x.value.pointer, table: positions.table.pointer,
      positions: positions.indexPointer, output: output.pointer, batch: batch, count: count,
      prefix: extra, columns: columns)
    if let prefix {
      for sample in 0..<batch {
        (output.pointer + sample * (count + 1) * columns).update(
          from: parameters.pointer(prefix), count: columns)
      }
    }
    guard records([x], prefix.map { [$0] } ?? []) else { return .constant(output) }
    return record(
      output,
      .addPositions(AddPositionsRecord(id: x.id, prefix: prefix, batch: batch, count: count)))
  }

  /// The learned token `[C]` in every row of `[B, count, C]`.
  public func repeatToken(_ token: Parameter, batch: Int, count: Int) -> Variable {
    let columns = token.count
    let output = Tensor(uninitialized: [batch, count, columns])
    for row in 0..<batch * count {
      (output.pointer + row * columns).update(from: parameters.pointer(token), count: columns)
    }
    guard records([], [token]) else { return .constant(output) }
    return record(output, .repeatToken(RepeatTokenRecord(token: token, rows: batch * count)))
  }

  /// Tokens `start ..< start + count` of every sample of `[B, T, C]`.
  public func sliceTokens(_ x: Variable, start: Int, count: Int) -> Variable {
    let (batch, tokens, columns) = (x.shape[0], x.shape[1], x.shape[2])
    precondition(start + count <= tokens, "tokens \(start)+\(count) of \(tokens)")
    let output = Tensor(uninitialized: [batch, count, columns])
    TokenKernel.copyRows(
      pool, source: x.value.pointer, sourceRows: tokens, sourceStart: start,
      target: output.pointer, targetRows: count, targetStart: 0, batch: batch, count: count,
      columns: columns)
    guard records([x]) else { return .constant(output) }
    let operation = SliceTokensRecord(id: x.id, shape: x.shape, start: start, count: count)
    return record(output, .sliceTokens(operation))
  }

  /// Mean cross-entropy of logits `[.., classes]` with one target a row, and the number of rows
  /// whose largest logit is the target.
  ///
  /// Backward overwrites the logits with their gradient.
  public func crossEntropy(
    _ logits: Variable, targets: TokenIndices
  ) -> (loss: ScalarVariable, correct: Int) {
    precondition(logits.value.rows == targets.count, "one target a row of logits")
    let logSumExp = Tensor(uninitialized: [targets.count])
    let result = targets.withUnsafePointer {
      CrossEntropyKernel.forward(
        pool, logits: logits.value.pointer, targets: $0, logSumExp: logSumExp.pointer,
        rows: targets.count, classes: logits.value.columns)
    }
    let record = CrossEntropyRecord(logits: logits, targets: targets, logSumExp: logSumExp)
    return (scalar(result.loss, of: [logits], .crossEntropy(record)), result.correct)
  }

  /// Mean over all elements of `(prediction - target)^2`; no gradient to the target.
  public func meanSquaredError(_ prediction: Variable, target: Variable) -> ScalarVariable {
    precondition(prediction.value.count == target.value.count, "prediction and target differ")
    let loss = MeanSquaredErrorKernel.forward(
      pool, prediction: prediction.value.pointer, target: target.value.pointer,
      count: prediction.value.count)
    let record = MeanSquaredErrorRecord(
      prediction: SavedInput(prediction), target: target.value)
    return scalar(loss, of: [prediction], .meanSquaredError(record))
  }

  /// Mean of `1 - cos(prediction, target)` over the counted tokens of every sample of `[B, T, C]`; no
  /// gradient to the target.
  ///
  /// Backward overwrites the predictions with their gradient.
  public func cosineDistance(
    _ prediction: Variable, target: Tensor, counted: Range<Int>
  ) -> ScalarVariable {
    precondition(prediction.shape == target.shape, "prediction and target differ")
    let rows = prediction.value.rows
    let counts = CosineKernel.Rows(tokens: prediction.shape[1], counted: counted)
    let cosines = Tensor(uninitialized: [rows])
    let loss = CosineKernel.forward(
      pool, prediction: prediction.value.pointer, target: target.pointer,
      cosines: cosines.pointer, rows: rows, columns: target.columns, counts: counts)
    let record = CosineDistanceRecord(
      prediction: prediction, target: target, counts: counts, cosines: cosines)
    return scalar(loss, of: [prediction], .cosineDistance(record))
  }

  func scalar(
    _ value: Double, of inputs: [Variable], _ operation: Operation
  ) -> ScalarVariable {
    let tensor = Tensor(repeating: Float(value), shape: [1])
    guard records(inputs) else {
      return ScalarVariable(value: value, variable: .constant(tensor))
    }
    return ScalarVariable(value: value, variable: record(tensor, operation))
  }
}

/// A loss: its value in Double, and the variable that backward starts from.
public struct ScalarVariable {
  public let value: Double
  public let variable: Variable
}
