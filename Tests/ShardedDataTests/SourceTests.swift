import Files
import PNGCodec
import Testing
import ZlibCodec

@testable import ShardedData

@Suite struct SourceTests {
  static let fashion = "/usr/share/datasets/fashion-mnist"

  private func images(count: Int, rows: Int = 3, columns: Int = 2) -> [UInt8] {
    [0, 0, 8, 3, 0, 0, 0, UInt8(count), 0, 0, 0, UInt8(rows), 0, 0, 0, UInt8(columns)]
      + (0..<count * rows * columns).map { UInt8(truncatingIfNeeded: $0) }
  }

  private func labels(_ values: [UInt8]) -> [UInt8] {
    [0, 0, 8, 1, 0, 0, 0, UInt8(values.count)] + values
  }

  @Test func idxFilesAreRead() throws {
    let folder = try ScratchFolder()
    try Files.write(images(count: 4), to: folder.file("images"))
    try Files.write(labels([0, 2, 1, 2]), to: folder.file("labels"))
    let source = try IDXSource(images: folder.file("images"), labels: folder.file("labels"))
    #expect(source.count == 4)
    #expect(source.imageShape == ImageShape(height: 3, width: 2, channels: 1))
    #expect(source.classNames == ["0", "1", "2"])
    #expect((0..<4).map { source.label(at: $0) } == [0, 2, 1, 2])
    #expect(pixels(source.content(at: 2)) == Array(12..<18))
  }

  @Test func idxFilesThatAreWrongSayWhy() throws {
    let folder = try ScratchFolder()
    func text(_ images: [UInt8], _ labels: [UInt8], names: [String]? = nil) throws -> String {
      try Files.write(images, to: folder.file("images"))
      try Files.write(labels, to: folder.file("labels"))
      return try #require(
        description {
          _ = try IDXSource(
            images: folder.file("images"), labels: folder.file("labels"), classNames: names)
        })
    }
    let good = labels([0, 1])
    #expect(try text(good, good).contains("too few") || text(good, good).contains("signature"))
    #expect(try text(images(count: 2), images(count: 2)).contains("the signature of an IDX"))
    #expect(try text(images(count: 2).dropLast(), good).contains("do not match the 11 bytes"))
    #expect(try text(images(count: 3), good).contains("has 2 labels"))
    #expect(try text([], good).contains("0 bytes are too few"))
    #expect(try text(images(count: 0), labels([])).contains("it holds no pixels"))
    #expect(try text(images(count: 2), good, names: ["one"]).contains("has the label 1, but only"))
  }

  @Test(.enabled(if: Files.isDirectory(fashion)))
  func fashionMNISTPacksTheSamePlainAndCompressed() throws {
    let folder = try ScratchFolder()
    for name in ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
      let bytes = try GzipFile.read(path: "\(SourceTests.fashion)/\(name).gz")
      try Files.write(bytes, to: folder.file(name))
    }
    let plain = try IDXSource(
      images: folder.file("t10k-images-idx3-ubyte"), labels: folder.file("t10k-labels-idx1-ubyte"))
    let compressed = try IDXSource(
      images: SourceTests.fashion + "/t10k-images-idx3-ubyte.gz",
      labels: SourceTests.fashion + "/t10k-labels-idx1-ubyte.gz")
    #expect(plain.count == 10_000 && compressed.count == 10_000)
    for index in stride(from: 0, to: 10_000, by: 999) {
      #expect(pixels(plain.content(at: index)) == pixels(compressed.content(at: index)))
      #expect(plain.label(at: index) == compressed.label(at: index))
    }
    _ = try pack(compressed, to: folder.file("shards"), name: "test", shardSize: 4000)
    let summary = try ShardInspector.summary(paths: [folder.file("shards")])
    #expect(summary.counts == [3333, 3333, 3334])
    #expect(summary.labelCounts == [Int](repeating: 1000, count: 10))
    #expect(abs(summary.mean[0] - 0.2868) < 1e-3)
    #expect(abs(summary.standardDeviation[0] - 0.3524) < 1e-3)
    // A fair sample: every class is a tenth of each shard.
    let first = try labels(of: summary.paths[0])
    for label in 0..<10 { #expect(abs(first.count { $0 == label } - 333) <= 2) }
  }

  private func writePictures(_ folder: ScratchFolder) throws {
    for (name, value) in [("cat", 10), ("ant", 200)] {
      try Files.makeDirectory(folder.file(name))
      for number in 0..<3 {
        let pixels = [UInt8](repeating: UInt8(value + number), count: 8 * 6 * 3)
        try PNGImage(width: 8, height: 6, channels: .rgb, pixels: pixels).write(
          path: folder.file("\(name)/\(number).png"))
      }
      try Files.write([1], to: folder.file("\(name)/notes.txt"))
    }
  }

  private func pixels(_ content: ImageContent) -> [UInt8]? {
    if case .pixels(let pixels, _) = content { pixels } else { nil }
  }

  private func labels(of path: String) throws -> [Int32] {
    let (reader, sample) = (ShardReader(path: path), StoredSample())
    return try (0..<reader.header().count).map { row in
      try reader.read(row, into: sample)
      return sample.label
    }
  }

  @Test func classFoldersAreReadInNameOrder() throws {
    let folder = try ScratchFolder()
    try writePictures(folder)
    let source = try ClassFolderSource(path: folder.path)
    #expect(source.classNames == ["ant", "cat"])
    #expect(source.count == 6)
    #expect((0..<6).map { source.label(at: $0) } == [0, 0, 0, 1, 1, 1])
    #expect(source.key(at: 4) == "cat/1.png")
    let paths = try pack(source, to: folder.file("out"), name: "x", shardSize: 10, order: .asIs)
    #expect(try ShardReader(path: paths[0]).header().classNames == ["ant", "cat"])
    #expect(
      try ShardReader(path: paths[0]).header().imageShape
        == ImageShape(height: 6, width: 8, channels: 3))
    #expect(try stored(paths[0], 4).bytes == [UInt8](repeating: 11, count: 144))
    // Files without class folders are one class.
    let flat = try ClassFolderSource(path: folder.file("cat"))
    #expect(flat.classNames == ["unlabelled"] && flat.count == 3)
    #expect(flat.key(at: 0) == "0.png")
  }

  @Test func picturesOfAnotherSizeAreResizedOrRefused() throws {
    let folder = try ScratchFolder()
    try writePictures(folder)
    let odd = PNGImage(
      width: 40, height: 10, channels: .gray,
      pixels: (0..<400).map { $0 % 40 < 15 || $0 % 40 >= 25 ? 0 : 77 })
    try odd.write(path: folder.file("cat/9.png"))
    let source = try ClassFolderSource(path: folder.path)
    let text = try #require(
      description {
        _ = try pack(source, to: folder.file("a"), name: "x", shardSize: 9, order: .asIs)
      })
    #expect(text.contains("cat/9.png") && text.contains("10 x 40 x 3"))
    #expect(text.contains("6 x 8 x 3") && text.contains("--size"))
    let paths = try pack(
      source, to: folder.file("b"), name: "x", shardSize: 9, order: .asIs, size: 10, channels: 1)
    // The middle of the picture; its height is the size already.
    #expect(try stored(paths[0], 6).bytes == [UInt8](repeating: 77, count: 100))
    #expect(try stored(paths[0], 0).bytes == [UInt8](repeating: 200, count: 100))
  }

  @Test func foldersWithoutPicturesSayWhy() throws {
    let folder = try ScratchFolder()
    func text() throws -> String {
      try #require(description { _ = try ClassFolderSource(path: folder.path) })
    }
    #expect(try text().contains("it holds no JPEG or PNG files"))
    try Files.makeDirectory(folder.file("dog"))
    #expect(try text().contains("the class folder dog holds no JPEG or PNG files"))
    try Files.write([1, 2, 3], to: folder.file("dog/a.png"))
    let source = try ClassFolderSource(path: folder.path)
    let torn = try #require(
      description { _ = try pack(source, to: folder.file("out"), name: "x", shardSize: 9) })
    #expect(torn.contains("dog/a.png"))
    let missing = try #require(description { _ = try ClassFolderSource(path: "/no/pictures") })
    #expect(missing.contains("/no/pictures: there is no such folder"))
  }
}
