internal import CHDF5

/// How a dataset lies in its file, for readers that go around the library's own copying.
extension HDF5Dataset {
  /// Where the elements begin in the file, if they lie there one behind the other as in memory: in
  /// one piece, or in chunks of whole rows without filters in their order. Nil for everything else.
  public var fileOffset: Int? {
    get throws(HDF5Error) {
      Library.enter()
      defer { Library.leave() }
      let id = try requireOpen("look at")
      guard let elementType, count > 0 else { return nil }
      let stored = try Handle(H5Dget_type(id), "look at", name, close: H5Tclose)
      guard H5Tequal(stored.id, elementType.native) > 0 else { return nil }
      if let chunk { return try chunksOffset(chunk, bytes: chunk.reduce(elementType.size, *)) }
      let address = H5Dget_offset(id)
      return Int(exactly: address)
    }
  }

  private func chunksOffset(_ chunk: [Int], bytes: Int) throws(HDF5Error) -> Int? {
    let id = try requireOpen("look at")
    let properties = try Handle(H5Dget_create_plist(id), "look at", name, close: H5Pclose)
    guard chunk.dropFirst() == shape.dropFirst(), H5Pget_nfilters(properties.id) == 0 else {
      return nil
    }
    // The library writes chunks of a dataset of fixed extents that was allocated at once in their
    // order, without gaps. It is enough to look at the ends.
    let last = (shape[0] - 1) / chunk[0]
    let addresses = try [0, last].map { (number) throws(HDF5Error) -> Int? in
      var start = [hsize_t](repeating: 0, count: chunk.count)
      start[0] = hsize_t(number * chunk[0])
      var (mask, address, size): (UInt32, haddr_t, hsize_t) = (0, 0, 0)
      try check(
        H5Dget_chunk_info_by_coord(id, start, &mask, &address, &size), "look at", name)
      return size == bytes ? Int(exactly: address) : nil
    }
    var index = H5D_CHUNK_IDX_BTREE
    try check(H5Dget_chunk_index_type(id, &index), "look at", name)
    guard index == H5D_CHUNK_IDX_NONE || index == H5D_CHUNK_IDX_SINGLE, let first = addresses[0],
      addresses[1] == first + last * bytes
    else { return nil }
    return first
  }
}
