import TensorCore

/// A value that a gradient rule needs again: kept, or made again by one cheap pass from what other
/// records keep anyway. The pass is the forward kernel, so the bits are the same.
indirect enum SavedValue {
  case kept(Tensor)
  /// Output of a layer norm: from its input, mean and rstd.
  case normalized(LayerNormRecord)
  /// Output of GELU: from what it was applied to.
  case activated(preActivation: Tensor)
  /// Output of a residual connection: from both of its inputs.
  case summed(ResidualRecord)

  /// Whether making it again needs nothing that is itself made again.
  var isKept: Bool {
    if case .kept = self { true } else { false }
  }

  /// Lends the value. A value made again goes back to the pool when `body` returns, so no pointer
  /// to it may leave.
  func withRestored<Result>(on tape: Tape, _ body: (Tensor) -> Result) -> Result {
    let tensor = restore(on: tape)
    // Kernels see pointers, which do not keep the memory.
    return withExtendedLifetime(tensor) { body(tensor) }
  }

  private func restore(on tape: Tape) -> Tensor {
    switch self {
    case .kept(let tensor):
      return tensor
    case .normalized(let record):
      return record.output(on: tape)
    case .activated(let z):
      let output = Tensor(uninitialized: z.shape)
      GELUKernel.forward(tape.pool, x: z.pointer, y: output.pointer, count: z.count)
      return output
    case .summed(let record):
      return record.output(on: tape)
    }
  }
}

/// An input of a recorded operation: who gets its gradient, and how to see its value.
struct SavedInput {
  let id: Int?
  let shape: Shape
  let value: SavedValue

  init(_ variable: Variable) {
    id = variable.id
    shape = variable.shape
    value = variable.saved
  }
}

extension LayerNormRecord {
  func output(on tape: Tape) -> Tensor {
    let tokens = sources.reduce(0) { $0 + $1.shape[1] }
    let y = Tensor(uninitialized: [sources[0].shape[0], tokens, weight.count])
    for (source, rows) in zip(sources, rows) {
      source.value.withRestored(on: tape) { x in
        LayerNormKernel.restore(
          tape.pool, x: x.pointer, rows: rows, offsets: offsets?.rowOffsets,
          weight: tape.parameters.pointer(weight), bias: tape.parameters.pointer(bias),
          mean: mean.pointer, rstd: rstd.pointer, y: y.pointer, columns: weight.count)
      }
    }
    return y
  }
}

extension ResidualRecord {
  func output(on tape: Tape) -> Tensor {
    let output = Tensor(uninitialized: x.shape)
    x.value.withRestored(on: tape) { x in
      branch.value.withRestored(on: tape) { branch in
        ResidualKernel.forward(
          tape.pool, x: x.pointer, branch: branch.pointer,
          gamma: gamma.map { UnsafePointer(tape.parameters.pointer($0)) },
          sampleScale: sampleScale.map { UnsafePointer($0.pointer) },
          rowsPerSample: rowsPerSample, output: output.pointer, rows: output.rows,
          columns: output.columns)
      }
    }
    return output
  }
}
