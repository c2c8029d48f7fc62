internal import CHDF5

/// What groups and datasets share: a place in a file, and attributes.
public class HDF5Object: @unchecked Sendable {
  // Sendable: all properties are constant, and calls on the handle are serialized by Library.
  public let file: HDF5File
  /// The path inside the file, from "/".
  public let path: String
  /// Nil for the root, which is reached by the file itself.
  private let handle: Handle?

  init(file: HDF5File, path: String, handle: consuming Handle?) {
    self.file = file
    self.path = path
    self.handle = handle
  }

  /// The file and the object, as errors name it.
  var name: String { "\(file.path):\(path)" }

  /// The identifier, to be used before `Library.leave`.
  func requireOpen(_ operation: String) throws(HDF5Error) -> hid_t {
    let root = try file.requireOpen(operation, name)
    switch handle {
    case .some(let handle): return handle.id
    case .none: return root
    }
  }
}
