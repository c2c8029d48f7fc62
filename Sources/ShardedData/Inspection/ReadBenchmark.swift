import Files
public import Interfaces

/// Reading alone, for `cae-dist bench loader`.
public enum ReadBenchmark {
  /// Bytes of one `read` of the plain way.
  private static let blockBytes = 1 << 20

  /// Reads samples as a loader's reading thread does, in the order of the keys, without decoding.
  ///
  /// - Parameter verifies: Checks checksums too, which a loader leaves to its decode threads.
  /// - Returns: Bytes of all samples.
  public static func readSamples(
    _ index: ShardIndex, batches: [[SampleKey]], verifies: Bool
  ) throws(ShardError) -> Int {
    let store = SampleStore(index: index, memoryBudget: -1, retries: .none)
    // As many as a pipeline with one decode thread has.
    let samples = (0..<4).map { _ in StoredSample() }
    var bytes = 0
    for keys in batches {
      for (place, key) in keys.sorted(by: { $0.sample < $1.sample }).enumerated() {
        let sample = samples[place % samples.count]
        try store.read(key.sample, needsKey: false, into: sample)
        bytes += sample.count
        if verifies { try sample.verify() }
      }
    }
    return bytes
  }

  /// Reads the files from beginning to end.
  ///
  /// - Returns: Bytes of all files.
  public static func readFiles(_ index: ShardIndex) throws(ShardError) -> Int {
    try handling { () throws(FileError) in
      let block = UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: 4096)
      defer { block.deallocate() }
      var bytes = 0
      for shard in index.shards {
        let file = try RandomAccessFile(path: shard.path)
        var offset = 0
        while true {
          let count = try file.read(at: offset, into: block)
          offset += count
          if count < block.count { break }
        }
        bytes += offset
      }
      return bytes
    }
  }
}
