import Glibc
import Synchronization

/// Who hands out the memory of parameters, gradients and moments.
///
/// The heap here; a window shared by the ranks of a host elsewhere. Activations never come from
/// here: they live in `MemoryPool`.
public protocol MemoryAllocator: AnyObject, Sendable {
  /// Zeroed memory for `count` floats, aligned to 64 bytes.
  func allocate(count: Int, purpose: String) -> Storage
}

/// Owner of a block of floats. Released when the last tensor on it is gone.
public final class Storage: @unchecked Sendable {
  // Sendable: the pointer is constant; who writes through it is the business of the owner, and
  // kernels write disjoint ranges.
  public let pointer: UnsafeMutablePointer<Float>
  public let count: Int
  private let release: @Sendable (UnsafeMutablePointer<Float>) -> Void

  /// - Parameter release: Called once with the pointer when the storage is dropped.
  public init(
    pointer: UnsafeMutablePointer<Float>, count: Int,
    release: @escaping @Sendable (UnsafeMutablePointer<Float>) -> Void
  ) {
    self.pointer = pointer
    self.count = count
    self.release = release
  }

  deinit { release(pointer) }
}

/// Plain process memory.
public final class HeapAllocator: MemoryAllocator {
  public init() {}

  public func allocate(count: Int, purpose: String) -> Storage {
    let pointer = allocateAligned(floats: max(count, 1))
    pointer.initialize(repeating: 0, count: max(count, 1))
    return Storage(pointer: pointer, count: count) { free($0) }
  }
}

/// - Precondition: The machine has the memory; running out of it ends the process, as nothing
///   above could go on.
func allocateAligned(floats: Int) -> UnsafeMutablePointer<Float> {
  var raw: UnsafeMutableRawPointer?
  let status = posix_memalign(&raw, 64, floats * MemoryLayout<Float>.stride)
  guard status == 0, let raw else {
    preconditionFailure("out of memory: \(floats * MemoryLayout<Float>.stride) bytes")
  }
  return raw.bindMemory(to: Float.self, capacity: floats)
}

/// Recycles the blocks of activations, so that a step after the first one allocates nothing.
///
/// A step's graph is static: the same sizes are asked for in the same order, so free lists keyed
/// by the rounded size reach a fixed point after one step.
public final class MemoryPool: Sendable {
  /// The pool of the process; another one while a plan is made.
  @TaskLocal public static var shared = MemoryPool()

  private struct State {
    var free: [Int: [Block]] = [:]
    var allocatedBytes = 0
    var writtenBytes = 0
    var usedBytes = 0
    var peakUsedBytes = 0
    var scratch: ScratchMemory?
  }

  private struct Block: @unchecked Sendable {
    // Sendable: a free block is owned by the pool alone.
    let pointer: UnsafeMutablePointer<Float>
    /// Floats that have been asked for, at most.
    var writtenCount = 0
  }

  private let state = Mutex(State())
  private let countsOnly: Bool

  /// - Parameter countsOnly: All blocks are the same memory, which is written only where somebody
  ///   writes: for the sizes of what is not to be computed.
  public init(countsOnly: Bool = false) { self.countsOnly = countsOnly }

  /// Memory with undefined contents for at least `count` floats.
  public func storage(count: Int) -> Storage {
    let rounded = MemoryPool.roundedCount(count)
    let bytes = rounded * MemoryLayout<Float>.stride
    let block = state.withLock { state -> Block in
      state.usedBytes += bytes
      state.peakUsedBytes = max(state.peakUsedBytes, state.usedBytes)
      var block = state.free[rounded]?.popLast() ?? allocate(rounded, &state)
      if count > block.writtenCount {
        state.writtenBytes += (count - block.writtenCount) * MemoryLayout<Float>.stride
        block.writtenCount = count
      }
      return block
    }
    return Storage(pointer: block.pointer, count: rounded) { [self, block] pointer in
      #if CAE_CHECK_MEMORY
        // Whoever still reads the block shows it.
        if !countsOnly { pointer.update(repeating: .nan, count: rounded) }
      #endif
      state.withLock { state in
        state.usedBytes -= bytes
        state.free[rounded, default: []].append(block)
      }
    }
  }

  private func allocate(_ count: Int, _ state: inout State) -> Block {
    state.allocatedBytes += count * MemoryLayout<Float>.stride
    guard countsOnly else { return Block(pointer: allocateAligned(floats: count)) }
    let scratch = ScratchMemory.holding(count, state.scratch)
    state.scratch = scratch
    return Block(pointer: scratch.pointer)
  }

  /// Largest number of bytes in use at once since the last `resetPeak`.
  public var peakUsedBytes: Int { state.withLock { $0.peakUsedBytes } }

  /// Bytes ever taken from the system.
  public var allocatedBytes: Int { state.withLock { $0.allocatedBytes } }

  /// Of those the bytes that tensors have had: what a block has beyond is never touched, and so
  /// takes no memory.
  public var writtenBytes: Int { state.withLock { $0.writtenBytes } }

  /// Gives unused blocks back to the system.
  public func trim() {
    let unused = state.withLock { state -> [Block] in
      defer { state.free = [:] }
      for (count, blocks) in state.free {
        state.allocatedBytes -= count * MemoryLayout<Float>.stride * blocks.count
        let written = blocks.reduce(0) { $0 + $1.writtenCount }
        state.writtenBytes -= written * MemoryLayout<Float>.stride
      }
      return state.free.values.flatMap { $0 }
    }
    if countsOnly { return }
    for block in unused { free(block.pointer) }
  }

  public func resetPeak() { state.withLock { $0.peakUsedBytes = $0.usedBytes } }

  /// Sizes are rounded to 1/8 of their power of two, so that blocks of nearly equal tensors
  /// serve each other at a waste of at most 12.5 %.
  private static func roundedCount(_ count: Int) -> Int {
    guard count > 128 else { return 128 }
    let granule = max(16, 1 << (Int.bitWidth - count.leadingZeroBitCount - 4))
    return (count + granule - 1) / granule * granule
  }
}
