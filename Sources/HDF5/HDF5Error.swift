internal import CHDF5

/// A call of the HDF5 library that failed, or data in a file that is not what was asked for.
public struct HDF5Error: Error, Equatable, Sendable, CustomStringConvertible {
  /// What was tried, as a verb that fits after "cannot".
  public let operation: String
  /// The file, and after a colon the object in it.
  public let path: String
  /// The library's outermost message, or the wrapper's own.
  public let top: String
  /// The library's innermost message; may be the same as `top`.
  public let bottom: String

  init(operation: String, path: String, reason: String) {
    self.operation = operation
    self.path = path
    top = reason
    bottom = reason
  }

  /// The failure of the call just made by this thread.
  static func last(_ operation: String, _ path: String) -> HDF5Error {
    HDF5Error(operation: operation, path: path, messages: errorStack())
  }

  private init(operation: String, path: String, messages: [String]) {
    self.operation = operation
    self.path = path
    top = messages.first ?? "the library gave no reason"
    // The outer frames only repeat that something below failed.
    bottom = messages.first(where: HDF5Error.isDecisive) ?? messages.last ?? top
  }

  public var description: String { "cannot \(operation) \(path): \(reason)" }

  /// A read or write of the system failed: another try may go through.
  public var isSystemFailure: Bool { systemMessage != nil }

  private var reason: String {
    if bottom.contains("file signature not found") { return "it is not an HDF5 file" }
    if bottom.contains("truncated file") {
      return "the file is truncated; it was not written to its end or not copied completely"
    }
    let detail = systemMessage ?? bottom
    let summary = String(top.prefix { $0 != ":" })
    return detail == top || detail == summary ? detail : "\(summary) (\(detail))"
  }

  /// The text of `errno`, which the file drivers put into their message.
  private var systemMessage: String? {
    let marker = "error message = '"
    guard let start = bottom.firstRange(of: marker)?.upperBound else { return nil }
    return String(bottom[start...].prefix { $0 != "'" })
  }

  private static func isDecisive(_ message: String) -> Bool {
    message.contains("error message = '") || message.contains("file signature not found")
      || message.contains("truncated file")
  }
}

/// Throws the library's error if a return value is negative, and passes it on otherwise.
@discardableResult
func check<Value: SignedInteger>(
  _ value: Value, _ operation: String, _ path: String
) throws(HDF5Error) -> Value {
  guard value >= 0 else { throw .last(operation, path) }
  return value
}

/// The messages of this thread's error stack, outermost first.
private func errorStack() -> [String] {
  var messages: [String] = []
  let status = withUnsafeMutablePointer(to: &messages) { messages in
    H5Ewalk2(
      hid_t(H5E_DEFAULT), H5E_WALK_DOWNWARD,
      { _, frame, context in
        if let text = frame?.pointee.desc {
          context?.assumingMemoryBound(to: [String].self).pointee.append(String(cString: text))
        }
        return 0
      }, messages)
  }
  return status >= 0 ? messages : []
}
