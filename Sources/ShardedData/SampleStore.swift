/// Raw images by sample number: all in memory when they fit the budget, else read one by one.
///
/// Small images need the first: a chunk holds hundreds of them, and a shuffled reader would read
/// and check a whole chunk for each. Not for use from two threads at once.
final class SampleStore {
  let isResident: Bool
  private let index: ShardIndex
  private let readers: [ShardReader]
  /// All images if resident, else the last one read.
  private let memory: UnsafeMutableBufferPointer<UInt8>
  private var isLoaded = false

  /// - Parameter memoryBudget: Bytes that the images may take.
  init(index: ShardIndex, memoryBudget: Int) {
    self.index = index
    isResident = index.imageBytes <= memoryBudget
    readers = index.shards.map { ShardReader(path: $0.path) }
    memory = .allocate(capacity: isResident ? index.imageBytes : index.imageShape.byteCount)
  }

  deinit { memory.deallocate() }

  /// Reads everything when the images are to stay in memory.
  ///
  /// - Parameter isCancelled: Asked between chunks.
  func prepare(isCancelled: () -> Bool) throws(ShardError) {
    guard isResident, !isLoaded else { return }
    let size = index.imageShape.byteCount
    for (number, shard) in index.shards.enumerated() {
      var row = 0
      while row < shard.count {
        if isCancelled() { return }
        let rows = row..<min(row + shard.chunkRows, shard.count)
        let first = (index.start(ofShard: number) + row) * size
        let target = UnsafeMutableBufferPointer(
          rebasing: memory[first..<first + rows.count * size])
        try readers[number].read(rows: rows, into: target)
        row = rows.upperBound
      }
    }
    isLoaded = true
  }

  /// The pixels of a sample, `[height, width, channels]`, valid until the next call.
  ///
  /// - Precondition: `prepare` has ended.
  func image(_ sample: Int) throws(ShardError) -> UnsafePointer<UInt8> {
    guard let base = memory.baseAddress else { preconditionFailure("images without pixels") }
    if isResident {
      precondition(isLoaded, "sample \(sample) is asked for before the images are read")
      return UnsafePointer(base + sample * index.imageShape.byteCount)
    }
    let (shard, row) = index.location(of: sample)
    try readers[shard].read(rows: row..<row + 1, into: memory)
    return UnsafePointer(base)
  }
}
