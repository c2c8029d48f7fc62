internal import CHDF5

/// Where the references of a dataset of elements of any length are, which name the places of the
/// elements in the file's heap.
public enum ReferenceLayout: Equatable, Sendable {
  /// One behind the other, from this place of the file on.
  case contiguous(offset: Int)
  /// In chunks of so many rows.
  case chunks(rows: Int)
}

/// Elements of any length, for readers that follow the references on their own: the library
/// (1.10.8, H5HG) crashes or never returns where the heap of a file is damaged.
extension HDF5Dataset {
  /// Bytes of a reference: length UInt32, address UInt64, index UInt32, little-endian.
  public static let referenceSize = 16

  /// Whether the elements are byte sequences of any length.
  public var holdsSequences: Bool {
    get throws(HDF5Error) {
      Library.enter()
      defer { Library.leave() }
      let id = try requireOpen("look at")
      let stored = try Handle(H5Dget_type(id), "look at", name, close: H5Tclose)
      guard H5Tget_class(stored.id) == H5T_VLEN else { return false }
      let base = try Handle(H5Tget_super(stored.id), "look at", name, close: H5Tclose)
      return H5Tget_class(base.id) == H5T_INTEGER && H5Tget_size(base.id) == 1
    }
  }

  /// Whether the elements are strings of any length.
  public var holdsVariableText: Bool {
    get throws(HDF5Error) {
      Library.enter()
      defer { Library.leave() }
      let id = try requireOpen("look at")
      let stored = try Handle(H5Dget_type(id), "look at", name, close: H5Tclose)
      return try check(H5Tis_variable_str(stored.id), "look at", name) > 0
    }
  }

  /// Where the references are, if each row is one element.
  ///
  /// - Returns: Nil where only the library can read them: behind a filter, within the header or
  ///   outside of the file, never written, or with addresses of another size than 8 bytes.
  public var referenceLayout: ReferenceLayout? {
    get throws(HDF5Error) {
      Library.enter()
      defer { Library.leave() }
      let id = try requireOpen("look at")
      let file = try Handle(
        H5Fget_create_plist(try self.file.requireOpen("look at")), "look at", name,
        close: H5Pclose)
      var (addressSize, lengthSize) = (0, 0)
      try check(H5Pget_sizes(file.id, &addressSize, &lengthSize), "look at", name)
      guard addressSize == 8, lengthSize == 8, !shape.isEmpty, !shape.contains(0),
        shape.dropFirst().allSatisfy({ $0 == 1 })
      else { return nil }
      let properties = try Handle(H5Dget_create_plist(id), "look at", name, close: H5Pclose)
      guard H5Pget_nfilters(properties.id) == 0 else { return nil }
      if let chunk { return chunk[0] > 0 ? .chunks(rows: chunk[0]) : nil }
      guard H5Pget_layout(properties.id) == H5D_CONTIGUOUS,
        let offset = Int(exactly: H5Dget_offset(id))
      else { return nil }
      return .contiguous(offset: offset)
    }
  }

  /// The references of a chunk as they are stored; empty if it was never written.
  ///
  /// - Parameter limit: Bytes that the file has, and more than which no chunk can have.
  /// - Precondition: The layout is one of chunks, and the number that of one.
  /// - Throws: `HDF5Error`, also if the chunk does not have the size of its references.
  public func readReferences(ofChunk number: Int, limit: Int) throws(HDF5Error) -> [UInt8] {
    Library.enter()
    defer { Library.leave() }
    let id = try requireOpen("read")
    guard let rows = chunk?[0], number >= 0, number <= (shape[0] - 1) / rows else {
      preconditionFailure("chunk \(number) of \(name)")
    }
    var start = [hsize_t](repeating: 0, count: shape.count)
    start[0] = hsize_t(number * rows)
    var (mask, address, stored): (UInt32, haddr_t, hsize_t) = (0, 0, 0)
    try check(H5Dget_chunk_info_by_coord(id, start, &mask, &address, &stored), "read", name)
    if address == haddr_t.max { return [] }
    let (size, overflow) = rows.multipliedReportingOverflow(by: HDF5Dataset.referenceSize)
    guard !overflow, stored == size, size <= limit else {
      throw HDF5Error(
        operation: "read", path: name, reason: "a chunk has the wrong size of \(stored) bytes")
    }
    var bytes = [UInt8](repeating: 0, count: size)
    try check(H5Dread_chunk(id, defaultProperties, start, &mask, &bytes), "read", name)
    return bytes
  }

  /// One element of a one-dimensional dataset of byte sequences of any length, by the library.
  ///
  /// - Throws: `HDF5Error`, also where the elements are no such sequences.
  public func readSequence(at index: Int) throws(HDF5Error) -> [UInt8] {
    Library.enter()
    defer { Library.leave() }
    let id = try requireOpen("read")
    let stored = try Handle(H5Dget_type(id), "read", name, close: H5Tclose)
    guard H5Tget_class(stored.id) == H5T_VLEN else {
      throw HDF5Error(
        operation: "read", path: name, reason: "it does not hold byte sequences of any length")
    }
    let type = try Handle(
      H5Tvlen_create(ElementType.uint8.native), "read", name, close: H5Tclose)
    let space = try boxSpace(start: [index], count: [1], "read")
    let memory = try Dataspace.make([1], "read", name)
    var sequence = hvl_t()
    try check(
      H5Dread(id, type.id, memory.id, space.id, defaultProperties, &sequence), "read", name)
    let bytes = Array(UnsafeRawBufferPointer(start: sequence.p, count: sequence.len))
    try check(H5Dvlen_reclaim(type.id, memory.id, defaultProperties, &sequence), "read", name)
    return bytes
  }
}
