import Glibc
import Synchronization

/// A log file that is only ever added to, from any thread.
public final class AppendingFile: Sendable {
  public let path: String
  private let file: Mutex<Descriptor?>

  /// Opens the file, making it if it is missing.
  public init(path: String) throws(FileError) {
    self.path = path
    file = Mutex(try Descriptor("open", path: path, flags: O_WRONLY | O_CREAT | O_APPEND))
  }

  /// Hands the text to the system in one write(2), so that lines of several writers do not mix.
  ///
  /// - Precondition: `close` was not called.
  public func append(_ text: String) throws(FileError) { try append(Array(text.utf8)) }

  /// As for text.
  public func append(_ bytes: [UInt8]) throws(FileError) {
    try file.withLock { (file) throws(FileError) in
      guard file != nil else { preconditionFailure("\(path) was appended to after close()") }
      try file?.write(bytes)
    }
  }

  /// Waits until the disk has the file.
  ///
  /// - Precondition: `close` was not called.
  public func synchronize() throws(FileError) {
    try file.withLock { (file) throws(FileError) in try file?.synchronize() }
  }

  /// Waits until the disk has the file, and closes it. A second call does nothing.
  public func close() throws(FileError) {
    try file.withLock { (file) throws(FileError) in
      guard let open = file.take() else { return }
      try open.synchronize()
    }
  }
}
