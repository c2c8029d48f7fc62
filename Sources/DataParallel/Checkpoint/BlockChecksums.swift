import Files

/// XXH64 of each block of a stream of bytes, the last one perhaps a shorter one.
struct BlockChecksums {
  private(set) var values: [UInt64] = []
  private var open = Hash64()
  private var openCount = 0

  static func count(ofBytes bytes: Int) -> Int {
    (bytes + CheckpointFormat.blockBytes - 1) / CheckpointFormat.blockBytes
  }

  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    var rest = bytes
    while !rest.isEmpty {
      let count = min(rest.count, CheckpointFormat.blockBytes - openCount)
      open.update(UnsafeRawBufferPointer(rebasing: rest[..<count]))
      openCount += count
      if openCount == CheckpointFormat.blockBytes { finish() }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  /// To be called after the last byte.
  mutating func finish() {
    guard openCount > 0 else { return }
    values.append(open.finalize())
    open = Hash64()
    openCount = 0
  }
}
