/// A contiguous row-major block of floats.
///
/// A value that shares its storage when copied: writing through `pointer` is seen by all copies.
/// Layers treat tensors as immutable once an op has produced them.
public struct Tensor: @unchecked Sendable {
  // Sendable: see `Storage`; a tensor that crosses threads is handed over, not shared.
  public let storage: Storage
  public let offset: Int
  public let shape: Shape

  public init(storage: Storage, offset: Int = 0, shape: Shape) {
    precondition(offset + shape.count <= storage.count, "\(shape) does not fit its storage")
    self.storage = storage
    self.offset = offset
    self.shape = shape
  }

  /// Undefined contents from the pool of activations.
  public init(uninitialized shape: Shape, pool: MemoryPool = .shared) {
    self.init(storage: pool.storage(count: shape.count), shape: shape)
  }

  public init(repeating value: Float, shape: Shape) {
    self.init(uninitialized: shape)
    pointer.update(repeating: value, count: shape.count)
  }

  public init(_ values: [Float], shape: Shape) {
    precondition(values.count == shape.count, "\(values.count) values for \(shape)")
    self.init(uninitialized: shape)
    values.withUnsafeBufferPointer { source in
      guard let base = source.baseAddress else { return }
      pointer.update(from: base, count: source.count)
    }
  }

  public var count: Int { shape.count }

  /// The first element. Valid while a tensor on the storage lives.
  public var pointer: UnsafeMutablePointer<Float> { storage.pointer + offset }

  /// Size of the last dimension.
  public var columns: Int { shape[shape.rank - 1] }

  /// Product of all dimensions but the last.
  public var rows: Int { columns == 0 ? 0 : count / columns }

  public var values: [Float] { Array(UnsafeBufferPointer(start: pointer, count: count)) }

  /// The same elements under another shape.
  public func reshaped(_ shape: Shape) -> Tensor {
    precondition(shape.count == count, "\(self.shape) cannot be read as \(shape)")
    return Tensor(storage: storage, offset: offset, shape: shape)
  }

  public func copy() -> Tensor {
    let copy = Tensor(uninitialized: shape)
    copy.pointer.update(from: pointer, count: count)
    return copy
  }
}
