import Files
import HDF5
import PNGCodec
import Testing

@testable import ShardedData

/// What is in the files of an encoding, and what is said of files that are none.
@Suite struct TargetStatisticsTests {
  private let folder: ScratchFolder
  private let tokens: String

  init() throws {
    folder = try ScratchFolder()
    tokens = folder.file("tokens")
  }

  private func description(
    grid: Int = 2, views: Int = 2, vocabularySize: Int = 4
  ) -> TargetDescription {
    TargetDescription(
      .tokens(vocabularySize: vocabularySize), grid: grid, views: views, settings: "crop",
      source: "t.h5", pictureSize: 16)
  }

  /// Encodes shards; the token is a function of the shard and the token's number in it.
  private func write(
    _ description: TargetDescription, count: Int = 5, shardSize: Int = 3,
    token: (_ shard: Int, _ number: Int) -> Int
  ) throws {
    let index = try packSynthetic(
      folder.file("shards"), count: count, shape: ImageShape(height: 2, width: 2, channels: 1),
      shardSize: shardSize)
    for (number, shard) in index.shards.enumerated() {
      let writer = try TargetShardWriter(description, of: shard, in: tokens)
      let perImage = description.views * description.valuesOfView
      while writer.nextSamples > 0 {
        let first = writer.count * perImage
        let block = (first..<first + writer.nextSamples * perImage).map {
          UInt16(token(number, $0))
        }
        try writer.append(block.withUnsafeBytes { Array($0) })
      }
      try writer.finish()
    }
  }

  private func text(_ path: String) throws -> String {
    try #require(ShardedDataTests.description { _ = try TargetStatistics(path: path) })
  }

  private var files: [String] {
    get throws { try Files.list(tokens).map { "\(tokens)/\($0)" } }
  }

  @Test func countsAreThoseOfAllFiles() throws {
    // Two images, all 0; three images: 4 times 0, 10 times 1, 10 times 2.
    try write(description()) { shard, number in
      shard == 0 || number < 4 ? 0 : number < 14 ? 1 : 2
    }
    let all = try TargetStatistics(path: tokens)
    #expect(all.counts == [20, 10, 10, 0])
    #expect((all.images, all.shards, all.missingShards) == (5, 2, 0))
    #expect(all.description == description())
    let last = try TargetStatistics(path: try files[1])
    #expect(last.counts == [4, 10, 10, 0])
    #expect((last.images, last.shards, last.missingShards) == (3, 1, 1))
    try Files.remove(try files[0])
    let rest = try TargetStatistics(path: tokens)
    #expect(rest.counts == last.counts && rest.missingShards == 1)
  }

  /// More tokens than are read at once.
  @Test func largeFilesAreCountedBlockByBlock() throws {
    let description = description(grid: 14, views: 3, vocabularySize: 300)
    try write(description, count: 250, shardSize: 250) { _, number in number * number % 299 }
    var expected = [Int](repeating: 0, count: 300)
    for number in 0..<250 * 3 * 196 { expected[number * number % 299] += 1 }
    #expect(try TargetStatistics(path: tokens).counts == expected)
  }

  @Test func otherPathsAreToldApart() throws {
    try write(description()) { _, _ in 0 }
    try Files.write(Array("text".utf8), to: folder.file("text.h5"))
    let shard = try Files.list(folder.file("shards"))[0]
    #expect(try TargetStatistics.canRead(tokens))
    #expect(try TargetStatistics.canRead(try files[0]))
    #expect(try !TargetStatistics.canRead(folder.file("shards/\(shard)")))
    #expect(try !TargetStatistics.canRead(folder.file("text.h5")))
    #expect(try !TargetStatistics.canRead("/nowhere"))

    #expect(
      try text(folder.file("shards")).hasSuffix(
        "\(shard): it does not hold any; cae-dist tokenizer encode makes such files."))
    try Files.makeDirectory(folder.file("empty"))
    #expect(
      try text(folder.file("empty"))
        == "Cannot read the targets in \(folder.file("empty")): there are "
        + "none in it; cae-dist tokenizer encode makes them.")
  }

  @Test func filesOfDifferentPicturesAreRefused() throws {
    try write(description()) { _, _ in 0 }
    let file = try HDF5File(path: try files[1], .readWrite)
    try file.root.setAttribute("settings", "no crop")
    try file.close()
    #expect(
      try text(tokens)
        == "The shards do not belong together: the settings of \(files[1]): no crop, "
        + "but of \(files[0]): crop.")
  }

  @Test(arguments: ["grid", "views", "vocabularySize"], [-1, 0, Int.max])
  func impossibleSizesAreRefused(attribute: String, value: Int) throws {
    try write(description()) { _, _ in 0 }
    let file = try HDF5File(path: try files[0], .readWrite)
    try file.root.setAttribute(attribute, value)
    try file.close()
    #expect(try text(tokens).contains("\(value)"))
    #expect(try text(tokens).hasSuffix(" cannot be."))
  }

  /// Rows are larger than a block may be: one image each.
  @Test func featuresAreSummedUp() throws {
    let index = try packSynthetic(
      folder.file("shards"), count: 3, shape: ImageShape(height: 2, width: 2, channels: 1),
      shardSize: 2)
    let description = TargetDescription(
      .features(width: 1 << 16), grid: 8, views: 1, settings: "crop", source: "t.h5",
      pictureSize: 16)
    #expect(description.blockSamples == 1)
    for shard in index.shards {
      let writer = try TargetShardWriter(description, of: shard, in: tokens)
      while writer.nextSamples > 0 {
        let block = [Float](repeating: Float(writer.count), count: 65 << 16)
        try writer.append(block.withUnsafeBytes { Array($0) })
      }
      try writer.finish()
    }
    let all = try TargetStatistics(path: tokens)
    #expect(all.description == description && all.counts.isEmpty)
    #expect((all.images, all.shards, all.missingShards) == (3, 2, 0))
    let values = try HDF5File(path: try files[1], .readOnly).root.dataset("features")
    #expect(values.shape == [2, 1, 65, 1 << 16])
    let block = UnsafeMutableBufferPointer<Float>.allocate(capacity: 2)
    defer { block.deallocate() }
    try values.read(into: block, start: [0, 0, 64, (1 << 16) - 1], count: [2, 1, 1, 1])
    #expect(Array(block) == [0, 1])
    // The last feature of the second image, whose values are all 1.
    var bytes = try Files.read(try files[1])
    let ones = [UInt8]([0, 0, 0x80, 0x3f] + [0, 0, 0x80, 0x3f])
    let place = try #require(bytes.firstRange(of: ones)?.lowerBound)
    bytes[place] ^= 1
    try Files.write(bytes, to: try files[1])
    #expect(
      try text(tokens).hasSuffix("remove it, and cae-dist tokenizer encode computes it again."))
    let file = try HDF5File(path: try files[0], .readWrite)
    try file.root.setAttribute("width", 7)
    try file.close()
    #expect(try text(tokens).contains("[samples, 1, 65, 7] of float32"))
  }

  /// Each is possible alone.
  @Test func impossibleProductsAreRefused() throws {
    try write(description()) { _, _ in 0 }
    let file = try HDF5File(path: try files[0], .readWrite)
    for name in ["grid", "views"] { try file.root.setAttribute(name, 1 << 16) }
    try file.close()
    #expect(try text(tokens).hasSuffix(" cannot be."))
    let huge = TargetDescription(
      .features(width: 1 << 16), grid: 1 << 16, views: 1 << 16, settings: "", source: "",
      pictureSize: 16)
    #expect(throws: ShardError.self) { try huge.requirePossible(path: "x") }
  }

  @Test func damageIsFound() throws {
    try write(description()) { _, number in number == 5 ? 9 : 3 }
    #expect(try text(tokens).hasSuffix("it holds the token 9, but the vocabulary has 4."))
    let pattern = [UInt8](repeating: 0, count: 9).indices.map { UInt8($0 % 2 == 0 ? 3 : 0) }
    #expect(try damage(try files[0], at: pattern))
    #expect(
      try text(tokens).hasSuffix("remove it, and cae-dist tokenizer encode computes it again."))
    try Files.truncate(try files[0], toSize: try Files.size(of: try files[0]) / 2)
    #expect(try text(tokens).contains("the file is truncated"))
  }

  // MARK: Pictures

  @Test(arguments: [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4), (8192, 91)])
  func sheetsAreSquare(cells: Int, columns: Int) {
    #expect(Picture.squareColumns(cells) == columns)
  }

  @Test func bytesAreRoundedAndClipped() {
    #expect(
      [-3, 0, 0.4, 0.5, 254.6, 300, .nan, .infinity].map(Picture.byte) == [
        0, 0, 0, 1, 255, 255, 0, 255,
      ])
  }

  @Test(arguments: [false, true])
  func cellsStandInRowsWithGaps(isGray: Bool) throws {
    var picture = Picture(cells: 3, columns: 2, side: 2, gap: 1, isGray: isGray)
    picture.draw(cell: 2) { x, y, channel in UInt8(100 * channel + 10 * y + x) }
    let path = folder.file("picture.png")
    try picture.write(to: path)
    let read = try PNGImage(path: path)
    #expect((read.width, read.height, read.channels) == (7, 7, isGray ? 1 : 3))
    #expect(read.pixels == picture.pixels)
    for y in 0..<7 {
      for x in 0..<7 {
        for channel in 0..<read.channels {
          let isCell = (1...2).contains(x) && (4...5).contains(y)
          let expected = isCell ? UInt8(100 * channel + 10 * (y - 4) + x - 1) : 255
          #expect(read.pixels[(y * 7 + x) * read.channels + channel] == expected)
        }
      }
    }
  }

  @Test func pictureThatCannotBeWrittenNamesItsFile() {
    let picture = Picture(cells: 1, columns: 1, side: 1, gap: 0, isGray: true)
    let text = ShardedDataTests.description { try picture.write(to: "/nowhere/picture.png") }
    #expect(text?.hasPrefix("Cannot write the PNG /nowhere/picture.png: ") == true)
  }
}
