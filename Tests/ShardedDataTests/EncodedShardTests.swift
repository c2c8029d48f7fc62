import Files
import HDF5
import Interfaces
import JPEGCodec
import PNGCodec
import TensorCore
import Testing

@testable import ShardedData

/// Shards of image files: packing, reading, and all that can be wrong with them.
@Suite(.timeLimit(.minutes(1))) struct EncodedShardTests {
  private let folder: ScratchFolder
  private static let count = 30

  /// Pictures of different sizes, every third one a PNG, in three classes.
  init() throws {
    folder = try ScratchFolder()
    for number in 0..<Self.count {
      let shape = ImageShape(height: 30 + number, width: 60 - number, channels: 3)
      let pixels = SyntheticImages(count: Self.count, imageShape: shape, seed: 2).image(at: number)
      let name = folder.file("photos/class\(number % 3)/\(number)")
      try Files.makeDirectory(folder.file("photos/class\(number % 3)"))
      if number % 3 == 0 {
        try PNGImage(width: shape.width, height: shape.height, channels: .rgb, pixels: pixels)
          .write(path: name + ".png")
      } else {
        let bytes = try pixels.withUnsafeBufferPointer { buffer in
          try JPEGEncoder.encode(
            try #require(buffer.baseAddress), width: shape.width, height: shape.height,
            pixelStride: 3, quality: 90)
        }
        try Files.write(bytes, to: name + ".jpg")
      }
    }
  }

  private func packer(
    side: Int? = nil, order: PackOptions.Order = .stratified,
    badImages: PackOptions.BadImages = .fail,
    to name: String = "shards"
  ) throws -> ShardPacker<ClassFolderSource> {
    var options = PackOptions(format: .encoded(shorterSide: side, quality: 90))
    (options.order, options.shardSize, options.badImages) = (order, 12, badImages)
    return try ShardPacker(
      try ClassFolderSource(path: folder.file("photos")), to: folder.file(name), name: "train",
      options: options)
  }

  private func findings(_ paths: [String]) -> [ShardFinding] {
    var verifier = ShardVerifier()
    verifier.verify(paths: paths)
    return verifier.findings
  }

  @Test func filesComeBackAsTheyWere() throws {
    let paths = try packer().packAll()
    let index = try ShardIndex(paths: [folder.file("shards")])
    #expect(index.shards.map(\.count) == [10, 10, 10] && index.layout == .encoded)
    #expect(index.classNames == ["class0", "class1", "class2"] && index.imageShape == nil)
    var keys: Set<String> = []
    for sample in 0..<Self.count {
      let (shard, row) = index.location(of: sample)
      let (bytes, label, key) = try stored(paths[shard], row)
      #expect(bytes == (try Files.read(folder.file("photos/\(key)"))))
      #expect(key.hasPrefix("class\(label)/"))
      keys.insert(key)
    }
    #expect(keys.count == Self.count)
    #expect(findings([folder.file("shards")]).isEmpty)
    let summary = try ShardInspector.summary(paths: paths)
    #expect(summary.labelCounts == [10, 10, 10] && summary.measuredImages == 30)
    #expect(summary.shorterSides.map(\.images).reduce(0, +) == 30)
    try ContactSheet.write(index, to: folder.file("sheet.png"))
    let sheet = try PNGImage(path: folder.file("sheet.png"))
    #expect(sheet.width == 982 && sheet.height == 296)
  }

  @Test func largerImagesAreMadeSmaller() throws {
    let paths = try packer(side: 40).packAll()
    let decoder = ImageDecoder(channels: 3)
    for path in paths {
      for row in 0..<10 {
        let (bytes, _, key) = try stored(path, row)
        let original = try Files.read(folder.file("photos/\(key)"))
        let size = try bytes.withUnsafeBytes { try decoder.size(of: $0) }
        let before = try original.withUnsafeBytes { try decoder.size(of: $0) }
        let isLarge = min(before.width, before.height) > 40
        #expect(min(size.width, size.height) == min(40, before.width, before.height))
        #expect(isLarge ? bytes[0] == 0xFF : bytes == original)
      }
    }
  }

  @Test func aKilledPackingGoesOnWithTheShardsThatAreMissing() throws {
    let packer = try self.packer()
    let paths = try packer.packAll()
    let before = try paths.map { try Files.read($0) }
    try Files.remove(paths[1])
    // What a killed writer leaves is no shard.
    try Files.write([1, 2, 3], to: folder.file("shards/.train-00001-of-00003.h5.partial"))
    #expect(try (0..<3).map { try packer.isPacked(shard: $0) } == [true, false, true])
    var images = 0
    _ = try packer.packAll { images += 1 }
    #expect(images == 10)
    #expect(try paths.map { try Files.read($0) } == before)
    let text = try #require(description { _ = try self.packer(side: 32).packAll() })
    #expect(text.contains("of another packing"))
  }

  @Test func badImagesFailOrAreLeftOut() throws {
    let good = try Files.read(folder.file("photos/class1/1.jpg"))
    for (name, bytes) in [
      ("cut.jpg", Array(good[..<(good.count / 2)])), ("empty.png", []),
      ("text.jpg", Array("<html>".utf8)),
    ] { try Files.write(bytes, to: folder.file("photos/class1/\(name)")) }
    let text = try #require(description { _ = try self.packer(to: "a").packAll() })
    #expect(text.contains("Cannot pack class1/"))
    let packer = try self.packer(badImages: .skip, to: "b")
    let paths = try packer.packAll()
    #expect(try ShardIndex(paths: paths).count == Self.count)
    let skipped = try (0..<packer.shardCount).flatMap { try packer.skipped(inShard: $0) }
    #expect(
      skipped.map(\.key).sorted() == ["class1/cut.jpg", "class1/empty.png", "class1/text.jpg"])
    #expect(skipped.allSatisfy { !$0.reason.isEmpty })
    #expect(findings(paths).isEmpty)
  }

  /// The views that a loader makes of files, against decoding and resampling all of each.
  @Test func cropsOfPartsEqualCropsOfTheWhole() throws {
    let paths = try packer().packAll()
    let index = try ShardIndex(paths: paths)
    var options = LoaderOptions(seed: 5)
    options.threads = 2
    let loader = try BatchLoader(
      index: index, transform: .training(trainingPlan), options: options
    ) { $0 < 4 ? (0..<10).map { SampleKey(epoch: $0, sample: $0 * 3) } : nil }
    let (decoder, resampler) = (ImageDecoder(channels: 3), Resampler())
    while let batch = try loader.next() {
      for (place, key) in batch.keys.enumerated() {
        let (shard, row) = index.location(of: key.sample)
        let bytes = try stored(paths[shard], row).bytes
        let region = try bytes.withUnsafeBytes { try decoder.decode($0, box: nil, needed: nil) }
        let draw = Augmentation.draw(
          plan: trainingPlan, width: region.pixels.width, height: region.pixels.height, seed: 5,
          key: key)
        let box =
          draw.isFlipped ? draw.box.mirrored(inWidth: region.pixels.width) : draw.box
        // The larger view alone: it is not decoded at reduced size here.
        guard box.width < 32 || box.height < 32 else { continue }
        let view = trainingPlan.views[0]
        let pixels = resampler.resize(
          region.pixels, box: SourceBox(box), isFlipped: draw.isFlipped, toWidth: 16, toHeight: 16,
          filter: view.filter)
        let values = batch.views[0].values[place * 768..<(place + 1) * 768]
        for channel in 0..<3 {
          for pixel in 0..<256 {
            let byte = Float(pixels.pointer[pixel * 4 + channel]) / 255
            let expected = (byte - view.mean[channel]) / view.standardDeviation[channel]
            #expect(values[values.startIndex + channel * 256 + pixel] == expected)
          }
        }
      }
    }
  }

  @Test func damageIsFoundAndNamed() throws {
    let paths = try packer(order: .asIs).packAll()
    let path = paths[0]
    let good = try Files.read(path)
    let (image, _, key) = try stored(path, 4)
    let place = try #require(good.firstRange(of: image)?.lowerBound)
    func findings(_ change: (inout [UInt8]) -> Void) throws -> [ShardFinding] {
      var bytes = good
      change(&bytes)
      try Files.write(bytes, to: path)
      return self.findings([path])
    }
    let flipped = try findings { $0[place + image.count / 2] ^= 8 }
    #expect(flipped.map(\.row) == [nil, 4])
    #expect(flipped[1].key == key && flipped[1].reason.contains("checksum"))
    #expect(flipped[0].reason.contains("hash"))
    let cut = try findings { $0.removeLast(place / 2) }
    #expect(!cut.isEmpty && cut.allSatisfy { $0.path == path })
    // Any bit of the file, be it in a place that no reader looks at.
    for offset in stride(from: 3, to: good.count, by: good.count / 60) {
      #expect(try !findings { $0[offset] ^= 1 }.isEmpty, "byte \(offset)")
    }
    // The library would crash at some of these: the heaps of keys and class names.
    let heaps = good.indices.dropLast(4).filter { good[$0..<($0 + 4)].elementsEqual("GCOL".utf8) }
    #expect(heaps.count >= 1)
    for offset in heaps.flatMap({ $0..<min($0 + 64, good.count) }) {
      for bit in [0, 4, 7] as [UInt8] {
        let found = try findings { $0[offset] ^= 1 << bit }
        #expect(found.first?.reason.contains("hash is wrong") == true, "byte \(offset)")
      }
    }
  }

  /// Two data sets may have images of the same names; one may not.
  @Test func keysAreComparedWithinADataSet() throws {
    let (train, other) = (try packer(to: "train"), try packer(to: "val"))
    _ = (try train.packAll(), try other.packAll())
    #expect(findings([folder.file("train"), folder.file("val")]).isEmpty)
    for name in try Files.list(folder.file("val")) where name.hasSuffix(".h5") {
      try Files.write(
        try Files.read(folder.file("val/\(name)")), to: folder.file("train/again-\(name)"))
    }
    let doubled = findings([folder.file("train")])
    #expect(!doubled.isEmpty && doubled.allSatisfy { $0.reason.contains("has the same key") })
  }

  /// A shard that another packing has replaced while a run reads it.
  @Test func aShardThatIsReplacedIsAnError() throws {
    let paths = try packer().packAll()
    let header = try ShardReader(path: paths[0]).header()
    let reader = ShardReader(header, retries: .none)
    try Files.write(try Files.read(paths[1]), to: paths[0])
    // As many samples, but of another file: seen where the header tells.
    var options = PackOptions(format: .encoded(shorterSide: nil, quality: 90))
    options.shardSize = 7
    let fewer = try ShardPacker(
      try ClassFolderSource(path: folder.file("photos")), to: folder.file("fewer"), name: "train",
      options: options
    ).packAll()
    try Files.write(try Files.read(fewer[0]), to: paths[0])
    let text = try #require(description { _ = try reader.key(of: 0) })
    #expect(text.contains("\(paths[0]) has changed since the run began"))
  }

  /// Sizes that no machine has memory for are refused before anything is allocated.
  @Test func hostileSizesAreRefused() throws {
    let path = folder.file("huge.h5")
    let file = try HDF5File(path: path, .create)
    try file.root.createDataset(
      "imgs", of: UInt8.self, shape: [1 << 20, 3, 1 << 14, 1 << 14],
      options: DatasetOptions(chunk: [1, 1, 64, 64]))
    try file.root.createDataset(
      "labels", of: Int32.self, shape: [1 << 20], options: DatasetOptions(chunk: [1024]))
    try file.close()
    let found = findings([path])
    #expect(found.count == 1 && found[0].reason.contains("images of at most"))
  }

  /// Files that lie about themselves without being damaged.
  @Test func liesAreFoundAndNamed() throws {
    let bytes = try Files.read(folder.file("photos/class1/1.jpg"))
    func shard(
      offsets: [Int64], labels: [Int32] = [0, 0], keys: [String] = ["a", "b"],
      checksums: [UInt32]? = nil
    ) throws -> String {
      let path = folder.file("lie.h5")
      let file = try HDF5File(path: path, .create)
      let sum = bytes.withUnsafeBytes { Fletcher32.checksum($0) }
      try file.root.write(bytes + bytes, to: "bytes", shape: [bytes.count * 2])
      try file.root.write(offsets, to: "offsets", shape: [offsets.count])
      try file.root.write(labels, to: "labels", shape: [labels.count])
      try file.root.write(checksums ?? [sum, sum], to: "checksums", shape: [2])
      try file.root.createStrings("keys", keys)
      try file.root.setAttribute("formatVersion", 1)
      try file.root.setAttribute("classNames", ["one"])
      try file.root.setAttribute("source", "test")
      try file.close()
      return path
    }
    let size = Int64(bytes.count)
    let honest: [Int64] = [0, size, 2 * size]
    #expect(findings([try shard(offsets: honest)]).isEmpty)
    func text(_ path: String) -> String { findings([path]).map(\.text).joined(separator: "\n") }
    #expect(text(try shard(offsets: [0, size, 9 * size])).contains("sample 1 (b): its offsets"))
    #expect(text(try shard(offsets: [0, 2 * size, size])).contains("sample 1 (b): its offsets"))
    #expect(text(try shard(offsets: [-5, size, 2 * size])).contains("sample 0 (a): its offsets"))
    #expect(text(try shard(offsets: honest, labels: [0, 1])).contains("has the label 1"))
    #expect(text(try shard(offsets: honest, keys: ["a", "a"])).contains("has the same key"))
    #expect(text(try shard(offsets: [0, size])).contains("[2] where [3] is expected"))
    #expect(
      text(try shard(offsets: honest, checksums: [0, 1])).contains("sample 0 (a): its checksum"))
  }
}
