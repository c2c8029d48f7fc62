/// Stored samples by their number in the data set: all in memory when they are raw and fit the
/// budget, else read one by one.
///
/// Small images need the first: a chunk holds hundreds of them, and a shuffled reader would read
/// and check a whole chunk for each. Not for use from two threads at once.
final class SampleStore {
  let isResident: Bool
  private let index: ShardIndex
  private let retries: RetryPolicy
  /// Shards that are open, the one that was used last at the end.
  private var open: [(shard: Int, reader: ShardReader)] = []
  /// All images and labels if resident.
  private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var labels: [Int32] = []
  private var isLoaded = false

  /// As many as a shuffled reader goes to and fro between.
  private static let openShards = 32

  /// - Parameter memoryBudget: Bytes that the images may take.
  init(index: ShardIndex, memoryBudget: Int, retries: RetryPolicy) {
    self.index = index
    self.retries = retries
    isResident = index.isResident(budget: memoryBudget)
  }

  deinit { memory.deallocate() }

  /// Reads everything when the images are to stay in memory.
  ///
  /// - Parameter isCancelled: Asked between images.
  func prepare(isCancelled: () -> Bool) throws(ShardError) {
    guard isResident, !isLoaded, let size = index.imageShape?.byteCount else { return }
    memory = .allocate(byteCount: index.count * size, alignment: 64)
    labels.reserveCapacity(index.count)
    let sample = StoredSample()
    for number in 0..<index.count {
      if isCancelled() { return }
      try readShard(number, into: sample)
      try sample.verify()
      UnsafeMutableRawBufferPointer(rebasing: memory[number * size..<(number + 1) * size])
        .copyMemory(from: sample.bytes)
      labels.append(sample.label)
    }
    open.removeAll()
    isLoaded = true
  }

  /// Brings a sample's bytes, unchecked.
  ///
  /// - Parameter needsKey: Its name is wanted, too.
  /// - Precondition: `prepare` has ended.
  func read(_ number: Int, needsKey: Bool, into sample: StoredSample) throws(ShardError) {
    guard isResident, let shape = index.imageShape else {
      try readShard(number, into: sample)
      if needsKey { sample.key = try key(of: number) }
      return
    }
    precondition(isLoaded, "sample \(number) is asked for before the images are read")
    let (shard, row) = index.location(of: number)
    sample.begin(shard: index.shards[shard].path, row: row, label: labels[number])
    let size = shape.byteCount
    sample.reserve(size).copyMemory(
      from: UnsafeRawBufferPointer(rebasing: memory[number * size..<(number + 1) * size]))
    sample.finish(
      index.layout == .bigGAN ? .planar(shape) : .interleaved(shape), count: size)
    if needsKey { sample.key = try key(of: number) }
  }

  /// The name of a sample.
  func key(of number: Int) throws(ShardError) -> String {
    let (shard, row) = index.location(of: number)
    return try reader(of: shard).key(of: row)
  }

  /// The class of a sample; -1 for none.
  func label(of number: Int) throws(ShardError) -> Int32 {
    let (shard, row) = index.location(of: number)
    return try reader(of: shard).label(of: row)
  }

  private func readShard(_ number: Int, into sample: StoredSample) throws(ShardError) {
    let (shard, row) = index.location(of: number)
    try reader(of: shard).read(row, into: sample)
  }

  private func reader(of shard: Int) -> ShardReader {
    if let place = open.lastIndex(where: { $0.shard == shard }) {
      let entry = open.remove(at: place)
      open.append(entry)
      return entry.reader
    }
    if open.count == SampleStore.openShards { open.removeFirst() }
    let reader = ShardReader(index.shards[shard], retries: retries)
    open.append((shard, reader))
    return reader
  }
}
