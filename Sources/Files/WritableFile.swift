import Glibc
import Synchronization

/// What a write does on request, to show what comes of it.
public enum WriteFault: Sendable, Equatable {
  /// The disk is full.
  case noSpace
  /// The device fails.
  case inputOutput
  /// The system takes only half of what it is given, and says so.
  case short
}

/// An existing file whose bytes are written at given places.
public final class WritableFile: Sendable {
  public let path: String
  private let file: Descriptor
  private let fault: Mutex<WriteFault?>

  /// - Parameter fault: Happens to the first write.
  public init(path: String, fault: WriteFault? = nil) throws(FileError) {
    self.path = path
    self.fault = Mutex(fault)
    file = try Descriptor("open", path: path, flags: O_WRONLY)
  }

  public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
    var (rest, place) = (bytes, offset)
    while !rest.isEmpty {
      let written = retrying { write(rest, place) }
      guard written >= 0 else { throw .last("write", path) }
      rest = UnsafeRawBufferPointer(rebasing: rest[written...])
      place += written
    }
  }

  /// One call of the system.
  private func write(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Int {
    switch fault.withLock({ $0.take() }) {
    case .noSpace:
      errno = ENOSPC
      return -1
    case .inputOutput:
      errno = EIO
      return -1
    case .short: return pwrite(file.number, bytes.baseAddress, (bytes.count + 1) / 2, offset)
    case nil: return pwrite(file.number, bytes.baseAddress, bytes.count, offset)
    }
  }

  /// Lets the disk begin with a range, so that it does not wait for `synchronize`. A hint: where the
  /// file system takes none, nothing happens.
  public func beginFlush(_ range: Range<Int>) {
    // Linux begins to write dirty pages that nobody needs. Its own call for that, sync_file_range, is
    // hidden from Swift.
    _ = posix_fadvise(file.number, range.lowerBound, range.count, POSIX_FADV_DONTNEED)
  }

  /// Waits until the disk has the file.
  public func synchronize() throws(FileError) { try file.synchronize() }
}
