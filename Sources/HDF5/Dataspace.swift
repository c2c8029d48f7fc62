internal import CHDF5

/// Extents of datasets and attributes. Extents are `[Int]` outside; empty means one scalar.
enum Dataspace {
  /// A new space of the given extents.
  static func make(
    _ shape: [Int], _ operation: String, _ path: String
  ) throws(HDF5Error) -> Handle {
    precondition(shape.allSatisfy { $0 >= 0 }, "negative extent in \(shape)")
    let extents = shape.map { hsize_t($0) }
    let id =
      shape.isEmpty
      ? H5Screate(H5S_SCALAR)
      : H5Screate_simple(Int32(shape.count), extents, nil)
    return try Handle(id, operation, path, close: H5Sclose)
  }

  static func shape(
    of space: borrowing Handle, _ operation: String, _ path: String
  ) throws(HDF5Error) -> [Int] {
    let rank = try check(H5Sget_simple_extent_ndims(space.id), operation, path)
    var extents = [hsize_t](repeating: 0, count: Int(rank))
    try check(H5Sget_simple_extent_dims(space.id, &extents, nil), operation, path)
    // A damaged file must not make this number, of elements or of bytes, overflow elsewhere.
    var size = 16
    for extent in extents {
      let (product, overflow) = size.multipliedReportingOverflow(
        by: Int(clamping: max(1, extent)))
      guard !overflow else {
        throw HDF5Error(
          operation: operation, path: path, reason: "its shape \(extents) is larger than any file")
      }
      size = product
    }
    return extents.map { Int($0) }
  }

  /// Number of elements; 0 also for a null space (an "empty" attribute).
  static func count(
    of space: borrowing Handle, _ operation: String, _ path: String
  ) throws(HDF5Error) -> Int {
    Int(try check(H5Sget_simple_extent_npoints(space.id), operation, path))
  }

  /// Narrows a space to the box that begins at `start` and has `count` elements a dimension.
  static func select(
    _ space: borrowing Handle, start: [Int], count: [Int], _ operation: String, _ path: String
  ) throws(HDF5Error) {
    let shape = try shape(of: space, operation, path)
    let fits =
      start.count == shape.count && count.count == shape.count
      && shape.indices.allSatisfy {
        start[$0] >= 0 && count[$0] >= 0 && count[$0] <= shape[$0] - start[$0]
      }
    guard fits else {
      throw HDF5Error(
        operation: operation, path: path,
        reason: "a box of \(count) at \(start) is not inside its shape \(shape)")
    }
    // A scalar has one element to select, and no hyperslab.
    if shape.isEmpty { return }
    let first = start.map { hsize_t($0) }
    let extents = count.map { hsize_t($0) }
    try check(
      H5Sselect_hyperslab(space.id, H5S_SELECT_SET, first, nil, extents, nil), operation, path)
  }
}
