internal import CHDF5
import Glibc

/// Entry to the library: every call into HDF5 happens between `enter` and `leave`.
///
/// A thread-safe build has a lock of its own, but other clusters' builds may not, and error texts
/// must be read before another thread's call replaces them.
enum Library {
  private static let lock = {
    // Must come before every other call. After a close that failed on a full disk the library's
    // cleanup at exit crashes (1.10.8), which would hide the error and the exit code of the run.
    // Nothing is lost by it: files are closed by their owners.
    _ = H5dont_atexit()
    return RecursiveLock()
  }()

  static func enter() {
    lock.lock()
    // Printing is a setting of each thread in a thread-safe build, so it is switched off on
    // every entry. A failure would only mean that the library prints what is thrown anyway.
    _ = H5Eset_auto2(hid_t(H5E_DEFAULT), nil, nil)
  }

  static func leave() { lock.unlock() }
}

/// The library that is used, such as "1.10.8".
public enum HDF5Version {
  public static var text: String {
    Library.enter()
    defer { Library.leave() }
    var (major, minor, release): (UInt32, UInt32, UInt32) = (0, 0, 0)
    return H5get_libversion(&major, &minor, &release) < 0
      ? "unknown" : "\(major).\(minor).\(release)"
  }
}

let defaultProperties = hid_t(H5P_DEFAULT)
let wholeSpace = hid_t(0)

/// A mutex that its owner may take again: releasing a handle happens inside other calls.
private final class RecursiveLock: @unchecked Sendable {
  // Sendable: the pointer is constant, and a mutex is made to be shared.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

  init() {
    var attributes = pthread_mutexattr_t()
    pthread_mutexattr_init(&attributes)
    pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_RECURSIVE))
    pthread_mutex_init(mutex, &attributes)
    pthread_mutexattr_destroy(&attributes)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  func lock() { pthread_mutex_lock(mutex) }
  func unlock() { pthread_mutex_unlock(mutex) }
}

/// Owner of an identifier of the library; closes it when dropped.
struct Handle: ~Copyable {
  let id: hid_t
  private let close: @Sendable (hid_t) -> herr_t

  /// - Parameters:
  ///   - id: What the library returned; negative means failure, which is thrown.
  ///   - close: The function that belongs to this kind of identifier.
  init(
    _ id: hid_t, _ operation: String, _ path: String, close: @escaping @Sendable (hid_t) -> herr_t
  ) throws(HDF5Error) {
    self.id = try check(id, operation, path)
    self.close = close
  }

  deinit {
    Library.enter()
    defer { Library.leave() }
    // The file may have been closed before its objects, which closed this identifier too.
    _ = close(id)
  }
}
