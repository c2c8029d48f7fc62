import TensorCore

/// What goes over the links between hosts: floats as they are, or rounded to two bytes with the
/// rounding errors kept for the next time.
final class WireBuffers {
  /// Whose rounding error.
  enum Residual: Hashable {
    /// A host's part of a slice.
    case part(Range<Int>)
    /// The sum of a slice.
    case sum(Range<Int>)
  }

  struct Bytes {
    let bytes: UnsafeMutableRawBufferPointer
    /// Keeps the memory.
    let storage: Storage
  }

  private let wire: Wire
  private var residuals: [Residual: Storage] = [:]
  private let heap = HeapAllocator()

  init(_ wire: Wire) { self.wire = wire }

  /// The bytes of values: their own memory, or a rounded copy.
  func encode(
    _ values: Storage, count: Int, residual: Residual, _ staging: MemoryPool
  ) -> Bytes {
    guard wire == .bfloat16 else { return floats(values, count) }
    let bytes = memory(for: values, count: count, staging)
    let error = residuals[residual] ?? heap.allocate(count: count, purpose: "rounding errors")
    residuals[residual] = error
    if let start = bytes.bytes.baseAddress {
      BFloat16Kernel.encode(
        values.pointer, residual: error.pointer, into: start.assumingMemoryBound(to: UInt16.self),
        count: count)
    }
    return bytes
  }

  /// Memory for what will come for `values`: itself, where nothing is rounded.
  func memory(for values: Storage, count: Int, _ staging: MemoryPool) -> Bytes {
    guard wire == .bfloat16 else { return floats(values, count) }
    let storage = staging.storage(count: WireBuffers.roundedCount(count))
    return Bytes(
      bytes: UnsafeMutableRawBufferPointer(
        start: storage.pointer, count: count * MemoryLayout<UInt16>.stride),
      storage: storage)
  }

  /// Floats that so many rounded values take.
  static func roundedCount(_ count: Int) -> Int { (count + 1) / 2 }

  /// Makes floats of what has come.
  func decode(_ bytes: Bytes, into values: Storage, count: Int) {
    guard wire == .bfloat16, let start = bytes.bytes.baseAddress else { return }
    BFloat16Kernel.decode(
      start.assumingMemoryBound(to: UInt16.self), into: values.pointer, count: count)
  }

  private func floats(_ values: Storage, _ count: Int) -> Bytes {
    Bytes(
      bytes: UnsafeMutableRawBufferPointer(
        start: values.pointer, count: count * MemoryLayout<Float>.stride),
      storage: values)
  }
}

extension Storage {
  /// Memory of somebody else, who keeps it.
  static func borrowed(_ pointer: UnsafeMutablePointer<Float>, _ count: Int) -> Storage {
    Storage(pointer: pointer, count: count) { _ in }
  }
}
