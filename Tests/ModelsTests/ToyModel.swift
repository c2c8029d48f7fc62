import Glibc
import Interfaces
import Models
import NN
import TensorCore
import TestSupport

/// The CAE that the conformance vectors belong to: 4 x 4 patches of 8 pixels, two images, width 16,
/// two blocks and two heads everywhere, 20 classes; see `DeterministicFill` for its weights.
struct ToyModel {
  static let vocabularySize = 20

  let tree = ParameterTree()
  let network: CAENetwork
  let parameters: FlatBuffer
  let gradients: FlatBuffer
  let pool: ThreadPool
  let alignmentWeight: Double

  static let encoder = VisionTransformerConfiguration(
    imageSize: 32, patchSize: 8, embedDim: 16, depth: 2, numHeads: 2, layerScaleInit: 0.1,
    dropPathRate: 0)

  static func configuration(decoderDim: Int) -> CAE.Configuration {
    var configuration = CAE.Configuration()
    configuration.numMaskedPatches = 8
    configuration.decoderDim = decoderDim
    configuration.decoderHeads = 2
    configuration.regressorDepth = 2
    configuration.decoderDepth = 2
    return configuration
  }

  init(decoderDim: Int, threadCount: Int = 2) {
    let configuration = ToyModel.configuration(decoderDim: decoderDim)
    alignmentWeight = configuration.alignmentWeight
    network = CAENetwork(
      ToyModel.encoder, configuration, vocabularySize: ToyModel.vocabularySize, in: tree)
    parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
    gradients = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "gradients")
    pool = ThreadPool(threadCount: threadCount)
    DeterministicFill.fill(parameters, tree)
  }

  /// `sin(0.01 i) cos(0.003 i)` over `[2, 3, 32, 32]`.
  static var images: Tensor {
    let values = (0..<2 * 3 * 32 * 32).map { index -> Float in
      let i = Double(index)
      return Float(sin(0.01 * i) * cos(0.003 * i))
    }
    return Tensor(values, shape: [2, 3, 32, 32])
  }

  static let mask = PatchMask(
    rows: (0..<2).map { image in (0..<16).map { (7 * $0 + 3 * image) % 16 < 8 } })

  static var targets: TokenIndices {
    let tokens = mask.masked.enumerated().map { index, patch -> Int32 in
      let image = Int32(index / 8)
      return (5 * patch + 3 * image) % 20
    }
    return TokenIndices(tokens)
  }

  /// What one forward and backward pass gives; gradients are in `gradients`.
  struct Step {
    let reconstruction: Double
    /// Times its weight.
    let alignment: Double
    let logits: [Float]
    let predictedLatents: [Float]
    let targetLatents: [Float]

    var total: Double { reconstruction + alignment }
  }

  /// - Parameter keepsBlockInputsOnly: Activation checkpointing.
  func step(keepsBlockInputsOnly: Bool = false) -> Step {
    let tape = Tape(parameters: parameters, pool: pool)
    tape.keepsBlockInputsOnly = keepsBlockInputsOnly
    let context = ForwardContext(
      tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    let result = network.forward(
      images: ToyModel.images, mask: ToyModel.mask, targets: ToyModel.targets, context)
    // Before backward, which overwrites the logits.
    let step = Step(
      reconstruction: result.reconstruction.value,
      alignment: alignmentWeight * result.alignment.value, logits: result.logits.value.values,
      predictedLatents: result.predictedLatents.value.values,
      targetLatents: result.targetLatents.value.values)
    tape.backward(
      from: [
        (result.reconstruction.variable, 1), (result.alignment.variable, Float(alignmentWeight)),
      ], into: FlatGradientSink(gradients, for: tree))
    return step
  }

  func gradient(_ name: String) -> [Float] {
    tree.parameter(named: name).map { gradients.tensor($0).values } ?? []
  }

  var gradientNorm: Double {
    AdamW.norm(of: gradients, tree, pool)
  }
}
