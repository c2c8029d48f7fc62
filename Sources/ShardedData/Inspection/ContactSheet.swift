import Interfaces

/// Thumbnails of samples that are spread evenly over a data set, as one PNG picture.
public enum ContactSheet {
  private static let columns = 10
  private static let rows = 8
  private static let side = 96
  private static let gap = 2

  /// - Throws: `ShardError` for a sample that cannot be read and for a failed write.
  public static func write(_ index: ShardIndex, to path: String) throws(ShardError) {
    let numbers = index.spread(columns * rows)
    var picture = Picture(
      cells: numbers.count, columns: columns, side: side, gap: gap, isGray: false)
    let (decoder, resampler, sample) = (SampleDecoder(channels: 3), Resampler(), StoredSample())
    for (place, number) in numbers.enumerated() {
      let (shard, row) = index.location(of: number)
      try ShardReader(path: index.shards[shard].path).read(row, into: sample)
      try sample.verify()
      let region = try decoder.region(of: sample, box: nil, needed: nil)
      let fit = Fit(
        width: region.pixels.width, height: region.pixels.height, size: side)
      let thumbnail = resampler.resize(
        region.pixels.channelGroup(from: 0), box: region.box, isFlipped: false, toWidth: fit.width,
        toHeight: fit.height, window: fit.window, filter: .bicubic)
      picture.draw(cell: place) { x, y, channel in
        // Gray is shown in three equal channels.
        thumbnail.pointer[
          (y * thumbnail.width + x) * thumbnail.pixelStride + min(channel, thumbnail.channels - 1)]
      }
    }
    try picture.write(to: path)
  }
}
