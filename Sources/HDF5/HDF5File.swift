internal import CHDF5

/// An open HDF5 file. It, and all objects reached from it, may be used from several threads; the
/// calls take turns.
///
/// Groups and datasets keep their file open. `close` closes it under them: using them afterwards
/// throws. A file that is still open when the process exits is not completed. Do not fork with a
/// file open.
public final class HDF5File: @unchecked Sendable {
  public enum Access: Sendable {
    /// The file must exist.
    case readOnly
    /// The file must exist.
    case readWrite
    /// An existing file is emptied.
    case create
  }

  public let path: String
  // Sendable: `id` is read and changed only between Library.enter and leave. Negative: closed.
  private(set) var id: hid_t

  /// - Parameter locking: Whether the library locks the file. Off, since the locks fail on many
  ///   network file systems, and the files here have one writer by design.
  /// - Parameter userBlock: Bytes left free at the beginning of a new file, for its creator: 0,
  ///   512, or a larger power of two. With one the file's metadata has checksums, too.
  /// - Throws: `HDF5Error`, which says so if the file is not HDF5 or is truncated.
  public init(
    path: String, _ access: Access, locking: Bool = false, userBlock: Int = 0
  ) throws(HDF5Error) {
    Library.enter()
    defer { Library.leave() }
    self.path = path
    let operation = access == .create ? "create" : "open"
    let properties = try Handle(
      H5Pcreate(chdf5_file_access_class()), operation, path, close: H5Pclose)
    // Strong: closing the file closes its objects, so that the close is real and reports errors.
    try check(H5Pset_fclose_degree(properties.id, H5F_CLOSE_STRONG), operation, path)
    try check(chdf5_set_file_locking(properties.id, locking ? 1 : 0), operation, path)
    let creation = try Handle(
      H5Pcreate(chdf5_file_create_class()), operation, path, close: H5Pclose)
    // Otherwise equal contents would not give equal files.
    try check(H5Pset_obj_track_times(creation.id, false), operation, path)
    if userBlock > 0 {
      try check(H5Pset_userblock(creation.id, hsize_t(userBlock)), operation, path)
      // Object headers and indices of this format carry checksums.
      try check(
        H5Pset_libver_bounds(properties.id, H5F_LIBVER_V110, H5F_LIBVER_V110), operation, path)
    }
    let opened =
      switch access {
      case .readOnly: H5Fopen(path, chdf5_read_only(), properties.id)
      case .readWrite: H5Fopen(path, chdf5_read_write(), properties.id)
      case .create: H5Fcreate(path, chdf5_truncate(), creation.id, properties.id)
      }
    id = try check(opened, operation, path)
  }

  deinit {
    Library.enter()
    defer { Library.leave() }
    // Whoever cares for the outcome of writes calls close(), which throws.
    if id >= 0 { _ = H5Fclose(id) }
  }

  /// The group "/"; its attributes are those of the file.
  public var root: HDF5Group { HDF5Group(rootOf: self) }

  /// Bytes before the HDF5 file proper.
  public var userBlock: Int {
    get throws(HDF5Error) {
      Library.enter()
      defer { Library.leave() }
      let properties = try Handle(
        H5Fget_create_plist(try requireOpen("look at")), "look at", path, close: H5Pclose)
      var size: hsize_t = 0
      try check(H5Pget_userblock(properties.id, &size), "look at", path)
      return Int(size)
    }
  }

  /// Hands everything written so far to the system. It does not wait for the disk.
  public func flush() throws(HDF5Error) {
    Library.enter()
    defer { Library.leave() }
    try check(H5Fflush(try requireOpen("flush"), H5F_SCOPE_GLOBAL), "write", path)
  }

  /// Writes what is left and closes the file and all its objects. A second call does nothing.
  ///
  /// - Throws: `HDF5Error` when the rest cannot be written, for example on a full disk; the file
  ///   is closed all the same and is not to be trusted.
  public func close() throws(HDF5Error) {
    Library.enter()
    defer { Library.leave() }
    guard id >= 0 else { return }
    let closing = id
    id = -1
    let flushed = H5Fflush(closing, H5F_SCOPE_GLOBAL)
    let failure = flushed < 0 ? HDF5Error.last("write", path) : nil
    let status = H5Fclose(closing)
    if let failure { throw failure }
    try check(status, "close", path)
  }

  /// True if there is a file at the path that begins as HDF5 files do.
  public static func isHDF5(_ path: String) -> Bool {
    Library.enter()
    defer { Library.leave() }
    return H5Fis_hdf5(path) > 0
  }

  /// The identifier, to be used before `Library.leave`.
  func requireOpen(_ operation: String, _ object: String? = nil) throws(HDF5Error) -> hid_t {
    guard id >= 0 else {
      throw HDF5Error(
        operation: operation, path: object ?? path, reason: "the file was closed before")
    }
    return id
  }
}
