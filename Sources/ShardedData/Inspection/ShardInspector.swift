import Files

/// Reads every sample of a data set and sums it up.
public enum ShardInspector {
  /// Images whose pixels are looked at, where all would take long.
  private static let measuredImages = 1000

  /// - Parameter paths: As for `ShardIndex`.
  /// - Throws: `ShardError`, for samples whose checksum is wrong or whose header cannot be read,
  ///   too.
  public static func summary(paths: [String]) throws(ShardError) -> ShardSummary {
    let index = try ShardIndex(paths: paths)
    var tally = Tally(channels: index.imageShape?.channels ?? 3)
    let stride = index.isResident() ? 1 : max(1, index.count / measuredImages)
    let sample = StoredSample()
    for (number, shard) in index.shards.enumerated() {
      let reader = ShardReader(path: shard.path)
      for row in 0..<shard.count {
        try reader.read(row, into: sample)
        try sample.verify()
        let position = index.start(ofShard: number) + row
        try tally.add(sample, measuresPixels: position % stride == 0)
      }
    }
    return try summary(of: index, tally)
  }

  private static func summary(
    of index: ShardIndex, _ tally: Tally
  ) throws(ShardError) -> ShardSummary {
    let files = index.shards.map(\.path)
    var bytes = 0
    for file in files { bytes += try handling { () throws(FileError) in try Files.size(of: file) } }
    var sources: [String] = []
    for shard in index.shards where !sources.contains(shard.source) { sources.append(shard.source) }
    let classes = max(index.classNames.count, (tally.labels.keys.max().map(Int.init) ?? -1) + 1)
    let moments = tally.moments
    return ShardSummary(
      layout: index.layout, paths: files, counts: index.shards.map(\.count),
      imageShape: index.imageShape, shorterSides: tally.sideCounts, classNames: index.classNames,
      labelCounts: (0..<classes).map { tally.labels[Int32($0)] ?? 0 },
      unlabelled: tally.labels[-1] ?? 0, bytesOnDisk: bytes, sources: sources,
      measuredImages: tally.measured, mean: moments.map(\.mean),
      standardDeviation: moments.map(\.deviation))
  }

  /// What is counted on the way.
  private struct Tally {
    private(set) var labels: [Int32: Int] = [:]
    private(set) var measured = 0
    /// Images by the number of doublings of 64 that exceed their shorter side.
    private var sides: [Int: Int] = [:]
    /// How often each byte comes, for each channel.
    private var bytes: [Int]
    private let channels: Int
    private let decoder: SampleDecoder

    init(channels: Int) {
      self.channels = channels
      bytes = [Int](repeating: 0, count: channels * 256)
      decoder = SampleDecoder(channels: channels)
    }

    mutating func add(_ sample: StoredSample, measuresPixels: Bool) throws(ShardError) {
      labels[sample.label, default: 0] += 1
      let size = try decoder.size(of: sample)
      var bound = 64
      while bound <= min(size.width, size.height) { bound *= 2 }
      sides[bound, default: 0] += 1
      guard measuresPixels else { return }
      measured += 1
      let pixels = try decoder.region(of: sample, box: nil, needed: nil).pixels
      for pixel in 0..<pixels.width * pixels.height {
        for channel in 0..<channels {
          bytes[channel * 256 + Int(pixels.pointer[pixel * pixels.pixelStride + channel])] += 1
        }
      }
    }

    var sideCounts: [ShardSummary.SideCount] {
      sides.sorted { $0.key < $1.key }.map {
        ShardSummary.SideCount(below: $0.key, images: $0.value)
      }
    }

    var moments: [(mean: Double, deviation: Double)] {
      (0..<channels).map { channel in
        let counts = bytes[channel * 256..<(channel + 1) * 256]
        let total = Double(counts.reduce(0, +))
        var (sum, squares) = (0.0, 0.0)
        for (value, count) in counts.enumerated() {
          sum += Double(count) * Double(value) / 255
          squares += Double(count) * Double(value * value) / (255 * 255)
        }
        let mean = sum / total
        return (mean, max(squares / total - mean * mean, 0).squareRoot())
      }
    }
  }
}
