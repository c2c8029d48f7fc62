import Glibc

/// Memory that grows to the largest size asked for and is used again.
final class GrowingMemory {
  private var pointer: UnsafeMutableRawPointer?
  private var capacity = 0

  deinit { free(pointer) }

  /// Memory with undefined contents; earlier pointers become invalid.
  func reserve(_ count: Int) throws(JPEGError) -> UnsafeMutablePointer<UInt8> {
    if count > capacity {
      free(pointer)
      pointer = malloc(count)
      capacity = pointer == nil ? 0 : count
    }
    guard let pointer else {
      throw JPEGError(reason: "there is no memory for its \(count) bytes of pixels")
    }
    return pointer.assumingMemoryBound(to: UInt8.self)
  }
}
