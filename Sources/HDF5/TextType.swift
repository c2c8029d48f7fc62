internal import CHDF5
import Glibc

/// Text in datasets and attributes. Written as UTF-8 of any length; read in every form.
enum TextType {
  /// Bytes of a text of fixed length that are read: a damaged file must not ask for any memory.
  private static let maximumSize = 1 << 20

  /// The type of strings of any length.
  static func variable(
    _ operation: String, _ name: String, characters: H5T_cset_t = H5T_CSET_UTF8
  ) throws(HDF5Error) -> Handle {
    let type = try Handle(H5Tcopy(chdf5_c_string()), operation, name, close: H5Tclose)
    try check(H5Tset_size(type.id, chdf5_variable_length()), operation, name)
    try check(H5Tset_cset(type.id, characters), operation, name)
    return type
  }

  /// Reads all strings of a space.
  ///
  /// - Parameter transfer: Reads with the given type into the given buffer, and returns the
  ///   library's status.
  static func read(
    stored: borrowing Handle, space: borrowing Handle, _ name: String,
    transfer: (hid_t, UnsafeMutableRawPointer) -> herr_t
  ) throws(HDF5Error) -> [String] {
    guard H5Tget_class(stored.id) == H5T_STRING else {
      throw HDF5Error(operation: "read", path: name, reason: "it does not hold text")
    }
    let count = try Dataspace.count(of: space, "read", name)
    guard count > 0 else { return [] }
    if try check(H5Tis_variable_str(stored.id), "read", name) > 0 {
      return try readVariable(
        count, characters: H5Tget_cset(stored.id), space: space, name, transfer: transfer)
    }
    return try readFixed(count, stored: stored, name, transfer: transfer)
  }

  private static func readVariable(
    _ count: Int, characters: H5T_cset_t, space: borrowing Handle, _ name: String,
    transfer: (hid_t, UnsafeMutableRawPointer) -> herr_t
  ) throws(HDF5Error) -> [String] {
    // The library does not convert between ASCII and UTF-8, so the stored set is asked for.
    let type = try variable("read", name, characters: characters)
    var texts = [UnsafeMutablePointer<CChar>?](repeating: nil, count: count)
    try check(transfer(type.id, &texts), "read", name)
    let strings = texts.map { text in text.map { String(cString: $0) } ?? "" }
    try check(H5Dvlen_reclaim(type.id, space.id, defaultProperties, &texts), "read", name)
    return strings
  }

  private static func readFixed(
    _ count: Int, stored: borrowing Handle, _ name: String,
    transfer: (hid_t, UnsafeMutableRawPointer) -> herr_t
  ) throws(HDF5Error) -> [String] {
    let size = H5Tget_size(stored.id)
    guard size <= maximumSize else {
      throw HDF5Error(operation: "read", path: name, reason: "its texts have \(size) bytes each")
    }
    let isSpacePadded = H5Tget_strpad(stored.id) == H5T_STR_SPACEPAD
    var bytes = [UInt8](repeating: 0, count: count * size)
    try check(transfer(stored.id, &bytes), "read", name)
    return (0..<count).map { index in
      var text = bytes[(index * size)..<((index + 1) * size)].prefix { $0 != 0 }
      while isSpacePadded, text.last == UInt8(ascii: " ") { text.removeLast() }
      return String(decoding: text, as: UTF8.self)
    }
  }
}

/// Lends the strings as an array of C strings; text after a zero character is lost.
func withCStrings<Result>(_ strings: [String], _ body: (UnsafeRawPointer) -> Result) -> Result {
  let copies = strings.map { strdup($0) }
  defer { copies.forEach { free($0) } }
  return copies.withUnsafeBytes { buffer in
    guard let base = buffer.baseAddress else { preconditionFailure("no strings to lend") }
    return body(base)
  }
}
