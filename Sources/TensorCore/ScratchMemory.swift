import Glibc

/// Address space for values that do not matter: it takes memory only where somebody writes, and
/// the system need not have all of it.
final class ScratchMemory: @unchecked Sendable {
  // Sendable: constant but for what is written, which nobody relies on.
  let pointer: UnsafeMutablePointer<Float>
  private let count: Int
  /// A smaller one that is still in use.
  private let previous: ScratchMemory?

  private init(count: Int, previous: ScratchMemory?) {
    let bytes = count * MemoryLayout<Float>.stride
    guard
      let raw = mmap(
        nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
      raw != MAP_FAILED
    else { preconditionFailure("out of address space: \(bytes) bytes") }
    pointer = raw.bindMemory(to: Float.self, capacity: count)
    self.count = count
    self.previous = previous
  }

  deinit { munmap(pointer, count * MemoryLayout<Float>.stride) }

  /// `existing`, where it is long enough; else a longer one that keeps it.
  static func holding(_ count: Int, _ existing: ScratchMemory?) -> ScratchMemory {
    if let existing, existing.count >= count { return existing }
    return ScratchMemory(count: max(count, 2 * (existing?.count ?? 0)), previous: existing)
  }
}
