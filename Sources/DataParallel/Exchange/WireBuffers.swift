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

    /// For files: whether it is of a sum, and the slice.
    fileprivate var row: [Int64] {
      switch self {
      case .part(let range): [0, Int64(range.lowerBound), Int64(range.upperBound)]
      case .sum(let range): [1, Int64(range.lowerBound), Int64(range.upperBound)]
      }
    }

    fileprivate init(row: ArraySlice<Int64>) {
      let row = row.map { Int($0) }
      self = row[0] == 0 ? .part(row[1]..<row[2]) : .sum(row[1]..<row[2])
    }
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

  // MARK: In checkpoints

  /// All rounding errors in a fixed order: whose (see `Residual.row`) and how many, four numbers
  /// each, and the values. Not while anything is exchanged.
  var roundingErrors: (table: [Int64], values: [UnsafeBufferPointer<Float>]) {
    let sorted = residuals.sorted { $0.key.row.lexicographicallyPrecedes($1.key.row) }
    return (
      sorted.flatMap { $0.key.row + [Int64($0.value.count)] },
      sorted.map { UnsafeBufferPointer(start: $0.value.pointer, count: $0.value.count) }
    )
  }

  /// Memory for the rounding errors of a table, to be filled by the caller.
  func makeRoundingErrors(_ table: [Int64]) -> [UnsafeMutableBufferPointer<Float>] {
    residuals = [:]
    return stride(from: 0, to: table.count, by: 4).map { row in
      let storage = heap.allocate(count: Int(table[row + 3]), purpose: "rounding errors")
      residuals[Residual(row: table[row..<row + 3])] = storage
      return UnsafeMutableBufferPointer(start: storage.pointer, count: storage.count)
    }
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
