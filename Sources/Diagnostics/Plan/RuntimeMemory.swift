import Models

/// Memory of a rank that no tensor has. Measured with a model of a few pixels, less its tensors:
/// x86-64, Swift 6.3, Open MPI 4.1, OpenBLAS 0.3.21.
struct RuntimeMemory {
  /// Code that all ranks of a host run, once.
  static let sharedCode = 4_000_000
  /// What the loader relocates for each process, Swift's metadata, and small objects.
  static let privateCode = 8_000_000
  /// Open MPI's queues, tables and libraries, of a rank of several.
  static let mpi = 4_000_000
  /// Pages of a kernel thread's stack that are in use; most of it never is.
  static let threadStack = 64 << 10

  /// Sides of the blocks that the library packs operands into. It has them for each CPU; these are
  /// among the largest.
  private static let block = (rows: 448, depth: 448)

  let blas: Int
  let threadStacks: Int

  init(_ cost: StepCost, microBatch: Int, threads: Int) {
    let panels = cost.trained.keys.flatMap { layer -> [Int] in
      let rows = layer.rows * microBatch
      // Of a product's operands the one that a thread packs as a whole, as `LinearKernel` cuts
      // them: (length, depth).
      func length(_ columns: Int) -> Int { columns > rows ? rows : rows / threads }
      return [
        (length(layer.outputs), layer.inputs), (length(layer.inputs), layer.outputs),
        (layer.outputs / threads, rows),
      ].map { $0.0 * min($0.1, RuntimeMemory.block.depth) }
    }
    let packed = RuntimeMemory.block.rows * RuntimeMemory.block.depth + (panels.max() ?? 0)
    blas = threads * packed * MemoryLayout<Float>.stride
    // The exchange has a thread beside those that compute.
    threadStacks = (threads + 1) * RuntimeMemory.threadStack
  }
}
