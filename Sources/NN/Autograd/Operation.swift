import TensorCore

/// The fused operations, each with what its gradient rule needs. Adding one without a rule does
/// not compile: see `GradientRules`.
enum Operation {
  case linear(LinearRecord)
  case layerNorm(LayerNormRecord)
  case attention(AttentionRecord)
  case residual(ResidualRecord)
  case addPositions(AddPositionsRecord)
  case repeatToken(RepeatTokenRecord)
  case sliceTokens(SliceTokensRecord)
  case meanOfTokens(MeanOfTokensRecord)
  case crossEntropy(CrossEntropyRecord)
  case softCrossEntropy(SoftCrossEntropyRecord)
  case meanSquaredError(MeanSquaredErrorRecord)
  case cosineDistance(CosineDistanceRecord)
  case batchNorm(BatchNormRecord)
  case recomputed(RecomputedRecord)

  /// Parameters that get a contribution from this operation.
  var parameters: [Parameter] {
    switch self {
    case .linear(let record): [record.weight] + record.bias.map(\.parameter)
    case .layerNorm(let record): [record.weight, record.bias]
    case .residual(let record): record.gamma.map { [$0] } ?? []
    case .addPositions(let record): record.prefix.map { [$0] } ?? []
    case .repeatToken(let record): [record.token]
    case .recomputed(let record): record.parameters
    case .attention(let record): record.bias.map { [$0.table] } ?? []
    case .sliceTokens, .meanOfTokens, .crossEntropy, .softCrossEntropy, .meanSquaredError,
      .cosineDistance, .batchNorm:
      []
    }
  }
}

struct LinearRecord {
  let x: SavedInput
  let weight: Parameter
  let bias: [BiasSlice]
  /// What the activation was applied to; nil without activation.
  let preActivation: Tensor?
}

struct LayerNormRecord {
  /// Token sequences that are concatenated sample by sample before the norm.
  let sources: [SavedInput]
  let rows: [LayerNormKernel.Rows]
  let offsets: Positions?
  let weight: Parameter
  let bias: Parameter
  let mean: Tensor
  let rstd: Tensor
}

struct AttentionRecord {
  let shape: AttentionShape
  let q: AttentionInput
  let k: AttentionInput
  let v: AttentionInput
  let bias: RelativePositionBias?
  let output: Tensor
  let logSumExp: Tensor

  /// Whether q, k and v are the three thirds of one variable.
  var usesThirds: Bool {
    let (inputs, width) = ([q, k, v], shape.heads * shape.headDim)
    return inputs.allSatisfy { $0.variable.id == q.variable.id }
      && inputs.map(\.column) == [0, width, 2 * width]
      && inputs.allSatisfy { $0.variable.value.columns == 3 * width }
  }
}

struct ResidualRecord {
  let x: SavedInput
  let branch: SavedInput
  let gamma: Parameter?
  let sampleScale: Tensor?
  let rowsPerSample: Int
}

struct AddPositionsRecord {
  let id: Int?
  /// A learned token before the others of each sample.
  let prefix: Parameter?
  let batch: Int
  let count: Int
}

struct RepeatTokenRecord {
  let token: Parameter
  let rows: Int
}

struct SliceTokensRecord {
  let id: Int?
  let shape: Shape
  let start: Int
  let count: Int
}

struct MeanOfTokensRecord {
  let id: Int?
  let shape: Shape
  let start: Int
}

struct SoftCrossEntropyRecord {
  let logits: Variable
  let targets: MixedTargets
  let logSumExp: Tensor
}

struct CrossEntropyRecord {
  let logits: Variable
  let targets: TokenIndices
  let logSumExp: Tensor
}

struct MeanSquaredErrorRecord {
  let prediction: SavedInput
  let target: Tensor
}

struct CosineDistanceRecord {
  let prediction: Variable
  let target: Tensor
  let counts: CosineKernel.Rows
  let cosines: Tensor
}

struct BatchNormRecord {
  let id: Int?
  let y: Tensor
  let rstd: Tensor
  /// Rows of the whole batch; nil: the statistics were constants.
  let count: Int?
  let reducer: (any BatchReducer)?
}

struct RecomputedRecord {
  /// Leaves of the recomputation: the gradients go to the variables they stand for.
  let inputs: [Variable]
  let body: ([Variable]) -> Variable
  /// Parameters that the body uses, so that they are not complete before it has run again.
  let parameters: [Parameter]
}
