import Glibc

/// A system call on a file or folder that failed.
public struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What was tried, as a verb that fits after "cannot".
  public let operation: String
  /// The file or folder; of a rename "OLD to NEW".
  public let path: String
  /// The `errno` of the call.
  public let code: Int32

  public init(operation: String, path: String, code: Int32) {
    self.operation = operation
    self.path = path
    self.code = code
  }

  /// The disk, or the user's share of it, is used up.
  public var isOutOfSpace: Bool { code == ENOSPC || code == EDQUOT }

  /// There is no such file or folder.
  public var isMissing: Bool { code == ENOENT }

  public var description: String {
    // strerror keeps its buffer per thread in glibc, so threads do not disturb each other.
    let reason = strerror(code).map { String(cString: $0) } ?? "error \(code)"
    return "cannot \(operation) \(path): \(reason)"
  }

  /// The failure that `errno` stands for; to be called right after the failing call.
  static func last(_ operation: String, _ path: String) -> FileError {
    FileError(operation: operation, path: path, code: errno)
  }
}
