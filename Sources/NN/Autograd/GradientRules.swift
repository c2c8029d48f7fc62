import TensorCore

/// All gradient rules. One screen tells what is differentiable and by which kernel.
enum GradientRules {
  static func apply(_ operation: Operation, gradient: Tensor, _ pass: inout BackwardPass) {
    switch operation {
    case .linear(let record): linear(record, gradient, &pass)
    case .layerNorm(let record): layerNorm(record, gradient, &pass)
    case .attention(let record): attention(record, gradient, &pass)
    case .residual(let record): residual(record, gradient, &pass)
    case .addPositions(let record): addPositions(record, gradient, &pass)
    case .repeatToken(let record): repeatToken(record, gradient, &pass)
    case .sliceTokens(let record): sliceTokens(record, gradient, &pass)
    case .meanOfTokens(let record): meanOfTokens(record, gradient, &pass)
    case .crossEntropy(let record): crossEntropy(record, gradient, &pass)
    case .softCrossEntropy(let record): softCrossEntropy(record, gradient, &pass)
    case .meanSquaredError(let record): meanSquaredError(record, gradient, &pass)
    case .cosineDistance(let record): cosineDistance(record, gradient, &pass)
    case .batchNorm(let record): batchNorm(record, gradient, &pass)
    case .recomputed(let record): recompute(record, gradient, &pass)
    }
  }

  /// `dX = dY W`, `dW += dY^T X`, `db += sum dY`; with GELU, `dY` is first multiplied by its slope.
  private static func linear(_ record: LinearRecord, _ dY: Tensor, _ pass: inout BackwardPass) {
    let outputs = record.weight.shape[0]
    let inputs = record.weight.count / outputs
    let rows = dY.count / outputs
    let (tape, pool) = (pass.tape, pass.pool)
    if let z = record.preActivation {
      GELUKernel.backward(pool, x: z.pointer, dY: dY.pointer, count: dY.count)
    }
    pass.sink.accumulate(record.weight) { dWeight, beta in
      record.x.value.withRestored(on: tape) { x in
        LinearKernel.backwardWeight(
          pool, dY: dY.pointer, x: x.pointer, dWeight: dWeight, beta: beta, rows: rows,
          inputs: inputs, outputs: outputs)
      }
    }
    for slice in record.bias {
      pass.sink.accumulate(slice.parameter) { dBias, beta in
        LinearKernel.backwardBias(
          pool, dY: dY.pointer, start: slice.start, count: slice.parameter.count, dBias: dBias,
          beta: beta, rows: rows, outputs: outputs)
      }
    }
    guard let dX = pass.destination(record.x.id, record.x.shape) else { return }
    LinearKernel.backwardInput(
      pool, dY: dY.pointer, weight: pass.tape.parameters.pointer(record.weight),
      dX: dX.tensor.pointer, accumulate: dX.accumulate, rows: rows, inputs: inputs,
      outputs: outputs)
  }

  /// Through `xhat = (x - mean) rstd`; see `LayerNormKernel.backward`.
  private static func layerNorm(
    _ record: LayerNormRecord, _ dY: Tensor, _ pass: inout BackwardPass
  ) {
    let tape = pass.tape
    let destinations = record.sources.map { pass.destination($0.id, $0.shape) }
    pass.sink.accumulate(record.weight) { dWeight, weightBeta in
      pass.sink.accumulate(record.bias) { dBias, biasBeta in
        let columns = record.weight.count
        clear(dWeight, unless: weightBeta, count: columns)
        clear(dBias, unless: biasBeta, count: columns)
        for (index, source) in record.sources.enumerated() {
          source.value.withRestored(on: tape) { x in
            LayerNormKernel.backward(
              tape.pool, x: x.pointer, rows: record.rows[index],
              offsets: record.offsets?.rowOffsets,
              weight: tape.parameters.pointer(record.weight), mean: record.mean.pointer,
              rstd: record.rstd.pointer, dY: dY.pointer,
              dX: destinations[index]?.tensor.pointer,
              accumulate: destinations[index]?.accumulate ?? false, dWeight: dWeight,
              dBias: dBias, columns: columns)
          }
        }
      }
    }
  }

  /// See `AttentionKernel.backward`. Where q, k and v are the thirds of one matrix, so are their
  /// gradients; otherwise each has its own, zero where the operand does not reach, and those of
  /// one variable are added.
  private static func attention(
    _ record: AttentionRecord, _ dOutput: Tensor, _ pass: inout BackwardPass
  ) {
    let inputs = [record.q, record.k, record.v]
    let gradients: [Tensor]
    if record.usesThirds {
      let joint = Tensor(uninitialized: record.q.variable.shape)
      gradients = [joint, joint, joint]
    } else {
      gradients = inputs.map { Tensor(repeating: 0, shape: $0.variable.shape) }
    }
    let places = zip(inputs, gradients).map { input, gradient in input.operand(in: gradient) }
    let bias = record.bias.map { bias in
      (
        values: bias.values(on: pass.tape, record.shape),
        partials: Tensor(uninitialized: [record.shape.biasGradientCount])
      )
    }
    AttentionKernel.backward(
      pass.pool, record.shape, q: record.q.operand, k: record.k.operand, v: record.v.operand,
      bias: bias.map {
        AttentionKernel.BiasGradient(bias: $0.values.pointer, partials: $0.partials.pointer)
      },
      output: AttentionOperand(pointer: record.output.pointer, rowStride: record.output.columns),
      logSumExp: record.logSumExp.pointer,
      dOutput: AttentionOperand(pointer: dOutput.pointer, rowStride: dOutput.columns),
      dQ: places[0], dK: places[1], dV: places[2])
    // Also keeps gradients that nobody wants alive while the kernel writes to them.
    for (input, gradient) in zip(inputs, gradients).prefix(record.usesThirds ? 1 : 3) {
      pass.give(input.variable.id, gradient)
    }
    if let table = record.bias, let bias {
      scatter(bias.partials, record.shape, table, &pass)
      withExtendedLifetime(bias.values) {}
    }
  }

  /// The bias' gradient is summed over the batch, then over all places that look at an entry.
  private static func scatter(
    _ partials: Tensor, _ shape: AttentionShape, _ bias: RelativePositionBias,
    _ pass: inout BackwardPass
  ) {
    let pool = pass.pool
    pass.sink.accumulate(bias.table) { dTable, beta in
      bias.index.indices.withUnsafePointer { index in
        RelativePositionBiasKernel.scatter(
          pool, partials: partials.pointer, groups: shape.biasGroups, index: index,
          count: bias.index.indices.count, heads: shape.heads, entries: bias.index.tableRows,
          dTable: dTable, beta: beta)
      }
    }
  }

  /// `dX = dOut` (the same memory), `dBranch = s gamma dOut`, `dGamma += sum s branch dOut`.
  private static func residual(
    _ record: ResidualRecord, _ dOutput: Tensor, _ pass: inout BackwardPass
  ) {
    let columns = dOutput.columns
    let dBranch = Tensor(uninitialized: record.branch.shape)
    let gamma = record.gamma.map { UnsafePointer(pass.tape.parameters.pointer($0)) }
    let pool = pass.pool
    let tape = pass.tape
    let run = { (dGamma: UnsafeMutablePointer<Float>?, beta: Float) in
      record.branch.value.withRestored(on: tape) { branch in
        ResidualKernel.backward(
          pool, dOutput: dOutput.pointer, branch: branch.pointer, gamma: gamma,
          sampleScale: record.sampleScale.map { UnsafePointer($0.pointer) },
          rowsPerSample: record.rowsPerSample, dBranch: dBranch.pointer, dGamma: dGamma,
          beta: beta, rows: dOutput.count / columns, columns: columns)
      }
    }
    if let parameter = record.gamma {
      pass.sink.accumulate(parameter) { run($0, $1) }
    } else {
      run(nil, 0)
    }
    pass.give(record.branch.id, dBranch)
    pass.give(record.x.id, dOutput)
  }

  /// Tables are fixed: tokens get their rows of the gradient, the prefix the sum of its rows.
  private static func addPositions(
    _ record: AddPositionsRecord, _ dOutput: Tensor, _ pass: inout BackwardPass
  ) {
    let columns = dOutput.columns
    guard let prefix = record.prefix else {
      pass.give(record.id, dOutput)
      return
    }
    let tokens = record.count + 1
    pass.sink.accumulate(prefix) { dPrefix, beta in
      clear(dPrefix, unless: beta, count: columns)
      for sample in 0..<record.batch {
        TokenKernel.addSerially(
          dOutput.pointer + sample * tokens * columns, to: dPrefix, count: columns)
      }
    }
    let dX = Tensor(
      uninitialized: [record.batch, record.count, columns])
    TokenKernel.copyRows(
      pass.pool, source: dOutput.pointer, sourceRows: tokens, sourceStart: 1, target: dX.pointer,
      targetRows: record.count, targetStart: 0, batch: record.batch, count: record.count,
      columns: columns)
    pass.give(record.id, dX)
  }

  /// The token's gradient is the sum over all its copies.
  private static func repeatToken(
    _ record: RepeatTokenRecord, _ dOutput: Tensor, _ pass: inout BackwardPass
  ) {
    let pool = pass.pool
    pass.sink.accumulate(record.token) { dToken, beta in
      LinearKernel.backwardBias(
        pool, dY: dOutput.pointer, start: 0, count: record.token.count, dBias: dToken, beta: beta,
        rows: record.rows, outputs: record.token.count)
    }
  }

  /// Rows outside of the slice get zero.
  private static func sliceTokens(
    _ record: SliceTokensRecord, _ dOutput: Tensor, _ pass: inout BackwardPass
  ) {
    let shape = record.shape
    let dX = Tensor(repeating: 0, shape: shape)
    TokenKernel.copyRows(
      pass.pool, source: dOutput.pointer, sourceRows: record.count, sourceStart: 0,
      target: dX.pointer, targetRows: shape[1], targetStart: record.start, batch: shape[0],
      count: record.count, columns: shape[2])
    pass.give(record.id, dX)
  }

  /// Every token of the mean gets its share; the others zero.
  private static func meanOfTokens(
    _ record: MeanOfTokensRecord, _ dOutput: Tensor, _ pass: inout BackwardPass
  ) {
    let shape = record.shape
    let dX = Tensor(uninitialized: shape)
    TokenKernel.meanBackward(
      pass.pool, dOutput: dOutput.pointer, tokens: shape[1], start: record.start, dX: dX.pointer,
      batch: shape[0], columns: shape[2])
    pass.give(record.id, dX)
  }

  /// `(softmax - target) / rows`, written over the logits.
  private static func softCrossEntropy(
    _ record: SoftCrossEntropyRecord, _ dLoss: Tensor, _ pass: inout BackwardPass
  ) {
    let logits = record.logits.value
    let rows = record.targets.first.count
    let pool = pass.pool
    record.targets.withSoftTargets { targets in
      CrossEntropyKernel.backward(
        pool, logits: logits.pointer, targets: targets, logSumExp: record.logSumExp.pointer,
        scale: dLoss.pointer[0] / Float(rows), rows: rows, classes: logits.count / rows)
    }
    pass.give(record.logits.id, logits)
  }

  /// `(softmax - onehot) / rows`, written over the logits: they are not needed any more.
  private static func crossEntropy(
    _ record: CrossEntropyRecord, _ dLoss: Tensor, _ pass: inout BackwardPass
  ) {
    let logits = record.logits.value
    let rows = record.targets.count
    record.targets.withUnsafePointer { targets in
      CrossEntropyKernel.backward(
        pass.pool, logits: logits.pointer, targets: targets, logSumExp: record.logSumExp.pointer,
        scale: dLoss.pointer[0] / Float(rows), rows: rows, classes: logits.count / rows)
    }
    pass.give(record.logits.id, logits)
  }

  /// `2 (prediction - target) / count`; the target is a constant.
  private static func meanSquaredError(
    _ record: MeanSquaredErrorRecord, _ dLoss: Tensor, _ pass: inout BackwardPass
  ) {
    guard let place = pass.destination(record.prediction.id, record.prediction.shape) else {
      return
    }
    record.prediction.value.withRestored(on: pass.tape) { prediction in
      MeanSquaredErrorKernel.backward(
        pass.pool, prediction: prediction.pointer, target: record.target.pointer,
        scale: dLoss.pointer[0], dPrediction: place.tensor.pointer, accumulate: place.accumulate,
        count: prediction.count)
    }
  }

  /// See `CosineKernel.backward`: written over the predictions, which are not needed any more.
  private static func cosineDistance(
    _ record: CosineDistanceRecord, _ dLoss: Tensor, _ pass: inout BackwardPass
  ) {
    let prediction = record.prediction.value
    CosineKernel.backward(
      pass.pool, prediction: prediction.pointer, target: record.target.pointer,
      cosines: record.cosines.pointer, scale: dLoss.pointer[0], rows: prediction.rows,
      columns: prediction.columns, counts: record.counts)
    pass.give(record.prediction.id, prediction)
  }

  /// See `BatchNormKernel.backward`; the sums are those of all who share the batch.
  private static func batchNorm(
    _ record: BatchNormRecord, _ dY: Tensor, _ pass: inout BackwardPass
  ) {
    let columns = record.rstd.count
    let rows = dY.count / columns
    var sums = [Double](repeating: 0, count: 2 * columns)
    sums.withUnsafeMutableBufferPointer { sums in
      guard record.count != nil, let base = sums.baseAddress else { return }
      BatchNormKernel.gradientSums(
        pass.pool, dY: dY.pointer, y: record.y.pointer, rows: rows, columns: columns, into: base)
      record.reducer?.sum(sums)
    }
    let dX = Tensor(uninitialized: record.y.shape)
    BatchNormKernel.backward(
      pass.pool, dY: dY.pointer, y: record.y.pointer, rstd: record.rstd.pointer, sums: sums,
      count: record.count ?? 1, dX: dX.pointer, rows: rows, columns: columns)
    pass.give(record.id, dX)
  }

  /// Runs the body again, recorded this time, at the end of the tape that is being played
  /// backwards: its rules come next.
  private static func recompute(
    _ record: RecomputedRecord, _ dOutput: Tensor, _ pass: inout BackwardPass
  ) {
    let output = record.body(record.inputs)
    pass.give(output.id, dOutput)
  }

  private static func clear(
    _ gradient: UnsafeMutablePointer<Float>, unless beta: Float, count: Int
  ) {
    if beta == 0 { gradient.update(repeating: 0, count: count) }
  }
}
