import Glibc

/// Why a lock was not taken.
public enum FileLockError: Error, Sendable, CustomStringConvertible {
  /// Another process, or another `FileLock` of this one, has it. `holder` is what that one wrote
  /// into the file: host name and process number.
  case alreadyHeld(path: String, holder: String)
  case file(FileError)

  public var description: String {
    switch self {
    case .alreadyHeld(let path, let holder):
      "\(path) is held by \(holder); wait for that process or stop it"
    case .file(let error): error.description
    }
  }
}

/// An exclusive lock on a file, held as long as the object lives or until the process ends.
///
/// The file stays behind, empty: removing it would let two processes lock two files of one name.
public final class FileLock: Sendable {
  public let path: String
  private let file: Descriptor

  /// Takes the lock without waiting. The file is made if it is missing.
  public init(path: String) throws(FileLockError) {
    let file: Descriptor
    do throws(FileError) {
      file = try Descriptor("open", path: path, flags: O_RDWR | O_CREAT)
    } catch {
      throw .file(error)
    }
    // Before `self` is complete: its deinit would erase the name of the holder.
    guard flock(file.number, LOCK_EX | LOCK_NB) == 0 else {
      let failure = FileError.last("lock", path)
      guard failure.code == EWOULDBLOCK else { throw .file(failure) }
      throw .alreadyHeld(path: path, holder: FileLock.holder(in: file))
    }
    self.path = path
    self.file = file
    do throws(FileError) {
      try self.file.truncate(toSize: 0)
      try self.file.write(Array("\(hostName()) process \(getpid())".utf8))
    } catch {
      throw .file(error)
    }
  }

  deinit {
    // Nobody holds it from here on, so nobody should be named. Closing the file unlocks it.
    ftruncate(file.number, 0)
  }

  private static func holder(in file: borrowing Descriptor) -> String {
    let text = (try? file.readAll()).map { String(decoding: $0, as: UTF8.self) } ?? ""
    return text.isEmpty ? "another process" : text
  }
}

private func hostName() -> String {
  var buffer = [CChar](repeating: 0, count: 256)
  // One byte less than there is: a name that does not fit is cut without a terminator.
  guard gethostname(&buffer, buffer.count - 1) == 0 else { return "unknown host" }
  return buffer.withUnsafeBufferPointer { pointer in
    pointer.baseAddress.map { String(cString: $0) } ?? ""
  }
}
