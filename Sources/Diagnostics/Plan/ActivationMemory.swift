import Interfaces
import Models
import NN
import TensorCore
import Training

/// Memory of activations: a step's forward and backward passes are played with kernels that skip
/// their work and tensors that are all the same memory. The code is that of the run, so what its
/// pool hands out, takes back and hands out again is too; neither the time nor the memory of the
/// model is needed.
struct ActivationMemory {
  /// What the pool keeps between steps, beside the images.
  let activations: Int
  /// Generated images of a step's micro-batches.
  let images: Int

  /// - Parameter tree: Gets the model's parameters.
  init(_ setup: BenchmarkSetup, microBatch: Int, microBatches: Int, in tree: ParameterTree) {
    let pool = MemoryPool(countsOnly: true)
    (activations, images) = MemoryPool.$shared.withValue(pool) {
      let network = CAENetwork(
        setup.model, setup.method, vocabularySize: BenchmarkSetup.vocabularySize, in: tree)
      let before = pool.writtenBytes
      let size = setup.model.imageSize
      let images = (0..<microBatches).map { _ in
        Tensor(uninitialized: [microBatch, setup.model.channels, size, size])
      }
      let imageBytes = pool.writtenBytes - before
      // Later passes find in the pool what the first ones have left.
      for _ in 0..<2 { ActivationMemory.play(setup, network, tree, images.prefix(2)) }
      return (pool.writtenBytes - imageBytes, imageBytes)
    }
  }

  /// Forward and backward of each micro-batch.
  private static func play(
    _ setup: BenchmarkSetup, _ network: CAENetwork, _ tree: ParameterTree,
    _ images: ArraySlice<Tensor>
  ) {
    let parameters = FlatBuffer(for: tree, storage: .placeholder(count: tree.flatCount))
    let tape = Tape(parameters: parameters, pool: ThreadPool(idleThreadCount: setup.threads))
    tape.keepsBlockInputsOnly = setup.parallelism.activationCheckpointing == .blocks
    let context = ForwardContext(
      tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    let sink = PlaceholderSink(parameters)
    let row = (0..<setup.model.patchCount).map { $0 < setup.method.numMaskedPatches }
    for images in images {
      let mask = PatchMask(rows: Array(repeating: row, count: images.shape[0]))
      let targets = TokenIndices(Array(repeating: 0, count: mask.masked.count))
      let result = network.forward(images: images, mask: mask, targets: targets, context)
      tape.backward(
        from: [(result.reconstruction.variable, 1), (result.alignment.variable, 1)], into: sink)
    }
  }
}

/// Lends the same memory for all gradients.
private final class PlaceholderSink: GradientSink {
  private let memory: FlatBuffer

  /// - Parameter memory: Large enough for any parameter.
  init(_ memory: FlatBuffer) { self.memory = memory }

  func accumulate(
    _ parameter: Parameter, _ body: (UnsafeMutablePointer<Float>, Float) -> Void
  ) { body(memory.pointer, 0) }

  func didComplete(_ parameter: Parameter) {}
}

extension Storage {
  /// Memory that takes none before it is written.
  fileprivate static func placeholder(count: Int) -> Storage {
    let block = MemoryPool(countsOnly: true).storage(count: count)
    return Storage(pointer: block.pointer, count: count) { [block] _ in _ = block }
  }
}
