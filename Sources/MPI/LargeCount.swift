internal import CMPI

/// Counts of MPI 3.1 are 32-bit integers, so longer buffers are cut into several calls.
enum LargeCount {
  static let limit = Int(Int32.max)

  /// Ranges of at most `limit` elements that cover `count`; one empty range for no elements, so
  /// that an empty operation is still one call.
  static func pieces(of count: Int, limit: Int) -> [Range<Int>] {
    if count == 0 { return [0..<0] }
    return stride(from: 0, to: count, by: limit).map { $0..<min($0 + limit, count) }
  }
}

/// A type of `count` elements whose repetitions lie `stride` elements apart: places a piece of
/// every rank's section into its section.
struct StridedDatatype: ~Copyable {
  let handle: MPI_Datatype

  init(of element: MPIElementType, size: Int, count: Int, stride: Int) throws(MPIError) {
    var packed: MPI_Datatype? = cmpi_null_datatype()
    try checked(
      MPI_Type_contiguous(Int32(count), element.handle, &packed), "MPI_Type_contiguous")
    var spread: MPI_Datatype? = cmpi_null_datatype()
    let status = MPI_Type_create_resized(packed, 0, stride * size, &spread)
    // The new type keeps what it needs of the old one.
    try checked(MPI_Type_free(&packed), "MPI_Type_free")
    try checked(status, "MPI_Type_create_resized")
    try checked(MPI_Type_commit(&spread), "MPI_Type_commit")
    guard let spread else {
      throw MPIError(.datatype, "MPI_Type_create_resized", "the library returned no type")
    }
    handle = spread
  }

  deinit {
    var handle: MPI_Datatype? = handle
    // A type that cannot be freed is lost memory and nothing else.
    _ = MPI_Type_free(&handle)
  }
}
