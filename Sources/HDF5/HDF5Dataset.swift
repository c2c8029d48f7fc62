internal import CHDF5

/// A dataset of a file: an array with a fixed shape. Numbers are converted to and from the stored
/// type as HDF5 does: values out of range are clamped, fractions are cut.
public final class HDF5Dataset: HDF5Object, @unchecked Sendable {
  /// Its extents; empty for a scalar.
  public let shape: [Int]
  /// The stored type; nil for text and for what has no Swift twin.
  public let elementType: ElementType?
  /// The extents of a chunk; nil if it is stored in one piece.
  public let chunk: [Int]?

  init(file: HDF5File, path: String, handle: consuming Handle) throws(HDF5Error) {
    let name = "\(file.path):\(path)"
    let operation = "open dataset"
    let space = try Handle(H5Dget_space(handle.id), operation, name, close: H5Sclose)
    shape = try Dataspace.shape(of: space, operation, name)
    let type = try Handle(H5Dget_type(handle.id), operation, name, close: H5Tclose)
    elementType = ElementType(stored: type.id)
    chunk = try storedChunk(of: handle.id, rank: shape.count, operation, name)
    try requireCompactData(
      of: handle.id, count: elementCount(shape), size: H5Tget_size(type.id), operation, name)
    super.init(file: file, path: path, handle: handle)
  }

  /// Number of elements; the largest integer where a damaged file claims more.
  public var count: Int { elementCount(shape) }

  /// Bytes that the data takes in the file, after filters; 0 before the first write.
  public var storageSize: Int {
    get throws(HDF5Error) {
      Library.enter()
      defer { Library.leave() }
      return Int(clamping: H5Dget_storage_size(try requireOpen("look at")))
    }
  }

  // MARK: Reading

  /// All elements in row-major order.
  public func read<T: HDF5Representable>(as type: T.Type = T.self) throws(HDF5Error) -> [T] {
    Library.enter()
    defer { Library.leave() }
    let id = try requireOpen("read")
    var status: herr_t = 0
    let values = [T](unsafeUninitializedCapacity: count) { buffer, initializedCount in
      if count > 0 {
        let native = T.elementType.native
        status = H5Dread(
          id, native, wholeSpace, wholeSpace, defaultProperties, buffer.baseAddress)
      }
      initializedCount = status >= 0 ? count : 0
    }
    try check(status, "read", name)
    return values
  }

  /// The box that begins at `start` and has `count` elements a dimension, in row-major order.
  ///
  /// - Parameter buffer: Overwritten; only borrowed for the call.
  /// - Precondition: The buffer has as many elements as the box.
  /// - Throws: `HDF5Error`, also if the box is not inside the shape.
  public func read<T: HDF5Representable>(
    into buffer: UnsafeMutableBufferPointer<T>, start: [Int], count: [Int]
  ) throws(HDF5Error) {
    requireCount(buffer.count, count)
    Library.enter()
    defer { Library.leave() }
    let id = try requireOpen("read")
    let space = try boxSpace(start: start, count: count, "read")
    let memory = try Dataspace.make(count, "read", name)
    guard !buffer.isEmpty else { return }
    let native = T.elementType.native
    let status = H5Dread(
      id, native, memory.id, space.id, defaultProperties, buffer.baseAddress)
    try check(status, "read", name)
  }

  // MARK: Writing

  /// Replaces all elements.
  ///
  /// - Precondition: There are as many values as elements.
  public func write<T: HDF5Representable>(_ values: [T]) throws(HDF5Error) {
    requireCount(values.count, shape)
    Library.enter()
    defer { Library.leave() }
    let id = try requireOpen("write")
    guard !values.isEmpty else { return }
    let native = T.elementType.native
    let status = H5Dwrite(id, native, wholeSpace, wholeSpace, defaultProperties, values)
    try check(status, "write", name)
  }

  /// Replaces the box that begins at `start` and has `count` elements a dimension.
  ///
  /// - Precondition: The buffer has as many elements as the box.
  /// - Throws: `HDF5Error`, also if the box is not inside the shape.
  public func write<T: HDF5Representable>(
    from buffer: UnsafeBufferPointer<T>, start: [Int], count: [Int]
  ) throws(HDF5Error) {
    requireCount(buffer.count, count)
    Library.enter()
    defer { Library.leave() }
    let id = try requireOpen("write")
    let space = try boxSpace(start: start, count: count, "write")
    let memory = try Dataspace.make(count, "write", name)
    guard !buffer.isEmpty else { return }
    let native = T.elementType.native
    let status = H5Dwrite(
      id, native, memory.id, space.id, defaultProperties, buffer.baseAddress)
    try check(status, "write", name)
  }

  // MARK: Text

  /// All elements of a dataset of strings, of fixed or of any length.
  public func readStrings() throws(HDF5Error) -> [String] {
    Library.enter()
    defer { Library.leave() }
    let id = try requireOpen("read")
    let stored = try Handle(H5Dget_type(id), "read", name, close: H5Tclose)
    let space = try Handle(H5Dget_space(id), "read", name, close: H5Sclose)
    return try TextType.read(stored: stored, space: space, name) { type, buffer in
      H5Dread(id, type, wholeSpace, wholeSpace, defaultProperties, buffer)
    }
  }

  /// The strings of the box that begins at `start` and has `count` elements a dimension.
  ///
  /// - Throws: `HDF5Error`, also if the box is not inside the shape or holds no text.
  public func readStrings(start: [Int], count: [Int]) throws(HDF5Error) -> [String] {
    Library.enter()
    defer { Library.leave() }
    let id = try requireOpen("read")
    let stored = try Handle(H5Dget_type(id), "read", name, close: H5Tclose)
    let space = try boxSpace(start: start, count: count, "read")
    let memory = try Dataspace.make(count, "read", name)
    let (memoryID, spaceID) = (memory.id, space.id)
    return try TextType.read(stored: stored, space: memory, name) { type, buffer in
      H5Dread(id, type, memoryID, spaceID, defaultProperties, buffer)
    }
  }

  func write(strings: [String], type: borrowing Handle) throws(HDF5Error) {
    let id = try requireOpen("write")
    guard !strings.isEmpty else { return }
    let status = withCStrings(strings) {
      H5Dwrite(id, type.id, wholeSpace, wholeSpace, defaultProperties, $0)
    }
    try check(status, "write", name)
  }

  // MARK: Helpers

  private func requireCount(_ given: Int, _ extents: [Int]) {
    let expected = extents.reduce(1, *)
    precondition(given == expected, "\(given) values for \(extents) elements of \(name)")
  }

  func boxSpace(
    start: [Int], count: [Int], _ operation: String
  ) throws(HDF5Error) -> Handle {
    let id = try requireOpen(operation)
    let space = try Handle(H5Dget_space(id), operation, name, close: H5Sclose)
    try Dataspace.select(space, start: start, count: count, operation, name)
    return space
  }
}

/// The extents of a chunk of a dataset; nil if it is stored in one piece.
private func storedChunk(
  of dataset: hid_t, rank: Int, _ operation: String, _ name: String
) throws(HDF5Error) -> [Int]? {
  let properties = try Handle(H5Dget_create_plist(dataset), operation, name, close: H5Pclose)
  guard H5Pget_layout(properties.id) == H5D_CHUNKED else { return nil }
  var extents = [hsize_t](repeating: 0, count: rank)
  try check(H5Pget_chunk(properties.id, Int32(rank), &extents), operation, name)
  return extents.map { Int(clamping: $0) }
}

/// The product of the extents; the largest integer where it is more.
private func elementCount(_ shape: [Int]) -> Int {
  shape.reduce(1) { product, extent in
    let (count, overflow) = product.multipliedReportingOverflow(by: extent)
    return overflow ? .max : count
  }
}

/// - Throws: Where a dataset that lies within its header has fewer bytes than its elements: the
///   library (1.10.8) reads behind them, or from nowhere.
private func requireCompactData(
  of dataset: hid_t, count: Int, size: Int, _ operation: String, _ name: String
) throws(HDF5Error) {
  let properties = try Handle(H5Dget_create_plist(dataset), operation, name, close: H5Pclose)
  guard H5Pget_layout(properties.id) == H5D_COMPACT else { return }
  let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
  let stored = H5Dget_storage_size(dataset)
  guard !overflow, bytes <= stored else {
    throw HDF5Error(
      operation: operation, path: name,
      reason: "its header has \(stored) bytes of it, fewer than its \(count) elements need")
  }
}
