import Files
import HDF5
import Testing

@testable import ShardedData

@Suite struct ShardTests {
  private let shape = ImageShape(height: 6, width: 5, channels: 3)

  @Test func packedSamplesAreAllThereInAFixedShuffledOrder() throws {
    let folder = try ScratchFolder()
    let source = SyntheticImages(count: 23, imageShape: shape, classCount: 7, seed: 1)
    var calls: [Int] = []
    let paths = try ShardPacker.pack(
      source, to: folder.file("a"), name: "train", shardSize: 6,
      progress: { done, total in calls.append(done * 100 + total) })
    #expect(calls == (1...23).map { $0 * 100 + 23 })
    #expect(paths == (0..<4).map { "\(folder.path)/a/train-0000\($0)-of-00004.h5" })
    #expect(try Files.list(folder.file("a"), includingHidden: true).count == 4)

    let index = try ShardIndex(paths: [folder.file("a")])
    #expect(index.count == 23)
    #expect(index.shards.map(\.count) == [5, 6, 6, 6])
    #expect(index.imageShape == shape)
    #expect(index.classNames == source.classNames)
    #expect(index.shards[0].source == "synthetic gratings, seed 1")
    let order = KeyedPermutation(count: 23, seed: 0x5AED_0001, epoch: 0)
    for sample in 0..<23 {
      let (shard, row) = index.location(of: sample)
      #expect(index.start(ofShard: shard) + row == sample)
      let image = try ShardReader(path: paths[shard]).images(rows: row..<row + 1)
      #expect(image == source.image(at: order[sample]))
      #expect(index.labels[sample] == source.label(at: order[sample]))
    }
    #expect((0..<23).map { order[$0] } != Array(0..<23))
  }

  @Test func packingTwiceGivesTheSameSamplesAndIsRefusedInOneFolder() throws {
    let folder = try ScratchFolder()
    let source = SyntheticImages(count: 9, imageShape: shape)
    let first = try ShardPacker.pack(source, to: folder.file("a"), name: "x", shardSize: 9)
    let second = try ShardPacker.pack(source, to: folder.file("b"), name: "x", shardSize: 9)
    #expect(
      try ShardReader(path: first[0]).images(rows: 0..<9)
        == ShardReader(path: second[0]).images(rows: 0..<9))
    let text = try #require(
      description {
        _ = try ShardPacker.pack(source, to: folder.file("a"), name: "x", shardSize: 2)
      })
    #expect(text.contains("already holds shards named x-*.h5"))
    _ = try ShardPacker.pack(source, to: folder.file("a"), name: "y-x", shardSize: 2)
  }

  @Test func anUnfinishedShardLeavesNothing() throws {
    let folder = try ScratchFolder()
    do {
      let writer = try ShardWriter(
        folder: folder.path, fileName: "s.h5", count: 2, imageShape: shape, classNames: ["a"],
        source: "")
      try writer.append(image: [UInt8](repeating: 1, count: shape.byteCount), label: 0)
      #expect(try Files.list(folder.path, includingHidden: true) == [".s.h5.partial"])
      let text = try #require(
        description {
          try writer.append(image: [UInt8](repeating: 1, count: shape.byteCount), label: 1)
        })
      #expect(text.contains("Sample 1") && text.contains("label 1") && text.contains("1 classes"))
    }
    #expect(try Files.list(folder.path, includingHidden: true).isEmpty)
  }

  @Test func aSourceThatFailsLeavesNothing() throws {
    struct Failing: ImageSource {
      let base: SyntheticImages
      var count: Int { base.count }
      var imageShape: ImageShape { base.imageShape }
      var classNames: [String] { base.classNames }
      var origin: String { base.origin }
      func label(at index: Int) -> Int32 { base.label(at: index) }
      func image(at index: Int) throws(ShardError) -> [UInt8] {
        if index == 7 { throw .badSource(path: "picture 7", reason: "it is torn") }
        return base.image(at: index)
      }
    }
    let folder = try ScratchFolder()
    let source = Failing(base: SyntheticImages(count: 30, imageShape: shape))
    let text = try #require(
      description {
        _ = try ShardPacker.pack(source, to: folder.path, name: "x", shardSize: 3)
      })
    #expect(text == "Cannot pack picture 7: it is torn.")
    #expect(try Files.list(folder.path, includingHidden: true).isEmpty)
  }

  @Test func theSummaryCountsAndMeasuresAllPixels() throws {
    let folder = try ScratchFolder()
    for (number, value) in [0, 51, 255].enumerated() {
      let writer = try ShardWriter(
        folder: folder.path, fileName: "s\(number).h5", count: 2, imageShape: shape,
        classNames: ["a", "b"], source: "by hand")
      for _ in 0..<2 {
        var pixels: [UInt8] = []
        for _ in 0..<30 { pixels += [UInt8(value), 100, 255] }
        try writer.append(image: pixels, label: number == 0 ? 0 : 1)
      }
      try writer.finish()
    }
    let summary = try ShardInspector.summary(paths: [folder.path])
    #expect(summary.counts == [2, 2, 2])
    #expect(summary.labelCounts == [2, 4])
    #expect(summary.sources == ["by hand"])
    #expect(summary.elementType == "uint8" && summary.checksum == "fletcher32")
    #expect(summary.chunkRows == [2, 2, 2])
    #expect(summary.bytesOnDisk > 6 * 90)
    #expect(abs(summary.mean[0] - 0.4) < 1e-9)
    #expect(abs(summary.mean[1] - 100.0 / 255) < 1e-9 && summary.mean[2] == 1)
    #expect(abs(summary.standardDeviation[0] - (0.56 / 3).squareRoot()) < 1e-9)
    #expect(summary.standardDeviation[1] < 1e-7 && summary.standardDeviation[2] == 0)
  }

  @Test func setNamesAreUnderstood() {
    let name = ShardFormat.fileName(name: "a-b", number: 3, total: 12)
    #expect(name == "a-b-00003-of-00012.h5")
    #expect(ShardFormat.set(ofFileName: name)?.name == "a-b")
    #expect(ShardFormat.set(ofFileName: name)?.total == 12)
    #expect(ShardFormat.set(ofFileName: "train.h5") == nil)
    #expect(ShardFormat.set(ofFileName: "a-b-of-c.h5") == nil)
  }
}
