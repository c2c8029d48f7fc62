import Files
import HDF5
import Testing

@testable import ShardedData

@Suite struct ShardTests {
  private let shape = ImageShape(height: 6, width: 5, channels: 3)

  @Test func packedSamplesAreAllThereInAFixedShuffledOrder() throws {
    let folder = try ScratchFolder()
    let source = SyntheticImages(count: 23, imageShape: shape, classCount: 7, seed: 1)
    var calls = 0
    let paths = try pack(
      source, to: folder.file("a"), name: "train", shardSize: 6, progress: { calls += 1 })
    #expect(calls == 23)
    #expect(paths == (0..<4).map { "\(folder.path)/a/train-0000\($0)-of-00004.h5" })
    #expect(try Files.list(folder.file("a"), includingHidden: true).count == 4)

    let index = try ShardIndex(paths: [folder.file("a")])
    #expect(index.count == 23)
    #expect(index.shards.map(\.count) == [5, 6, 6, 6])
    #expect(index.imageShape == shape)
    #expect(index.classNames == source.classNames)
    #expect(index.shards[0].source == "synthetic gratings, seed 1")
    let order = PackOrder.indices(.stratified, of: source).map(Int.init)
    #expect(order.sorted() == Array(0..<23) && order != Array(0..<23))
    for sample in 0..<23 {
      let (shard, row) = index.location(of: sample)
      #expect(index.start(ofShard: shard) + row == sample)
      let stored = try stored(paths[shard], row)
      #expect(stored.bytes == source.image(at: order[sample]))
      #expect(stored.label == source.label(at: order[sample]))
      #expect(stored.key == "image \(order[sample])")
    }
  }

  /// Any range of places has each class in its share, give or take a few images.
  @Test func stratifiedShardsHaveEachClassInItsShare() throws {
    struct Uneven: ImageSource {
      let count = 1000
      let classNames = ["many", "some", "few"]
      let origin = "uneven"
      func label(at index: Int) -> Int32 { index < 700 ? 0 : index < 950 ? 1 : 2 }
      func content(at index: Int) -> ImageContent { .file([]) }
    }
    let order = PackOrder.indices(.stratified, of: Uneven())
    #expect(order.sorted() == Array(0..<1000))
    for shard in 0..<5 {
      let labels = order[shard * 200..<(shard + 1) * 200].map { Uneven().label(at: Int($0)) }
      for (label, expected) in [140, 50, 10].enumerated() {
        #expect(abs(labels.count { $0 == label } - expected) <= 2)
      }
    }
    #expect(PackOrder.indices(.asIs, of: Uneven()) == Array(0..<1000))
  }

  @Test func packingTwiceGivesTheSameSamplesAndIsRefusedInOneFolder() throws {
    let folder = try ScratchFolder()
    let source = SyntheticImages(count: 9, imageShape: shape)
    let first = try pack(source, to: folder.file("a"), name: "x", shardSize: 9)
    let second = try pack(source, to: folder.file("b"), name: "x", shardSize: 9)
    #expect(try Files.read(first[0]) == Files.read(second[0]))
    // Others of that name are not mixed with it, nor taken for it.
    for (size, side) in [(2, nil), (9, 4)] as [(Int, Int?)] {
      let text = try #require(
        description {
          _ = try pack(source, to: folder.file("a"), name: "x", shardSize: size, size: side)
        })
      #expect(text.contains("already holds shards named x-*.h5 of another packing"))
    }
    _ = try pack(source, to: folder.file("a"), name: "y-x", shardSize: 2)
  }

  @Test func anUnfinishedShardLeavesNothing() throws {
    let folder = try ScratchFolder()
    do {
      let writer = try RawShardWriter(
        folder: folder.path, fileName: "s.h5", imageShape: shape,
        description: ShardDescription(classNames: ["a"], source: ""))
      let image = ImageContent.pixels([UInt8](repeating: 1, count: shape.byteCount), shape)
      try writer.append(image, label: 0, key: "first")
      #expect(
        try Files.list(folder.path, includingHidden: true) == [
          ".s.h5.partial", ".s.h5.partial-bytes",
        ])
      let text = try #require(
        description {
          try writer.append(image, label: 1, key: "second")
        })
      #expect(text.contains("Sample 1") && text.contains("label 1") && text.contains("1 classes"))
    }
    #expect(try Files.list(folder.path, includingHidden: true).isEmpty)
  }

  @Test func aSourceThatFailsLeavesNoPartsOfShards() throws {
    struct Failing: ImageSource {
      let base: SyntheticImages
      var count: Int { base.count }
      var classNames: [String] { base.classNames }
      var origin: String { base.origin }
      func label(at index: Int) -> Int32 { base.label(at: index) }
      func content(at index: Int) throws(ShardError) -> ImageContent {
        if index == 7 { throw .badSource(path: "picture 7", reason: "it is torn") }
        return base.content(at: index)
      }
    }
    let folder = try ScratchFolder()
    let source = Failing(base: SyntheticImages(count: 30, imageShape: shape))
    let text = try #require(
      description {
        _ = try pack(source, to: folder.path, name: "x", shardSize: 3, order: .asIs)
      })
    #expect(text == "Cannot pack picture 7: it is torn.")
    // Complete ones stay: the next packing goes on there.
    let left = try Files.list(folder.path, includingHidden: true)
    #expect(left == ["x-00000-of-00010.h5", "x-00001-of-00010.h5"])
    // With the picture left out the rest is packed, and the shard says which is missing.
    var options = PackOptions(format: .raw(size: nil, channels: 3))
    (options.order, options.shardSize, options.badImages) = (.asIs, 3, .skip)
    let packer = try ShardPacker(source, to: folder.file("b"), name: "x", options: options)
    let paths = try packer.packAll()
    #expect(try ShardIndex(paths: paths).shards.map(\.count) == [3, 3, 2, 3, 3, 3, 3, 3, 3, 3])
    #expect(try packer.skipped(inShard: 2).map(\.key) == ["image 7"])
    #expect(try packer.skipped(inShard: 2).map(\.reason) == ["it is torn"])
  }

  @Test func theSummaryCountsAndMeasuresAllPixels() throws {
    let folder = try ScratchFolder()
    for (number, value) in [0, 51, 255].enumerated() {
      let writer = try RawShardWriter(
        folder: folder.path, fileName: "s\(number).h5", imageShape: shape,
        description: ShardDescription(classNames: ["a", "b"], source: "by hand"))
      for _ in 0..<2 {
        var pixels: [UInt8] = []
        for _ in 0..<30 { pixels += [UInt8(value), 100, 255] }
        try writer.append(
          .pixels(pixels, shape), label: number == 0 ? 0 : 1, key: "\(number)")
      }
      try writer.finish(skipped: [])
    }
    let summary = try ShardInspector.summary(paths: [folder.path])
    #expect(summary.counts == [2, 2, 2])
    #expect(summary.labelCounts == [2, 4])
    #expect(summary.sources == ["by hand"])
    #expect(summary.layout == .raw && summary.measuredImages == 6)
    #expect(summary.shorterSides == [ShardSummary.SideCount(below: 64, images: 6)])
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
