/// Memory that grows to the largest size asked for and is used again.
final class ScratchBuffer<Element: BitwiseCopyable> {
  private(set) var pointer: UnsafeMutablePointer<Element>
  private var capacity: Int

  init(capacity: Int = 1) {
    pointer = .allocate(capacity: max(capacity, 1))
    self.capacity = max(capacity, 1)
  }

  deinit { pointer.deallocate() }

  /// Memory for `count` elements with undefined contents; earlier pointers become invalid.
  func reserve(_ count: Int) -> UnsafeMutablePointer<Element> {
    if count > capacity {
      pointer.deallocate()
      pointer = .allocate(capacity: count)
      capacity = count
    }
    return pointer
  }
}
