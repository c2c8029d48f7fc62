import Files
import HDF5
import Testing

@testable import ShardedData

/// Each way in which data can be wrong gives a sentence that names the file.
@Suite struct ShardErrorTests {
  private let folder: ScratchFolder

  init() throws { folder = try ScratchFolder() }

  /// Writes a shard by hand, with one thing changed.
  private func shard(
    _ name: String, images: [Int]? = [2, 4, 4, 1], labels: [Int32]? = [0, 1],
    version: Int? = 1, classNames: [String]? = ["a", "b"], source: String? = "test"
  ) throws -> String {
    let path = folder.file(name)
    let file = try HDF5File(path: path, .create)
    if let images { try file.root.createDataset("images", of: UInt8.self, shape: images) }
    if let labels { try file.root.write(labels, to: "labels", shape: [labels.count]) }
    if let version { try file.root.setAttribute("formatVersion", version) }
    if let classNames { try file.root.setAttribute("classNames", classNames) }
    if let source { try file.root.setAttribute("source", source) }
    try file.close()
    return path
  }

  private func sampleText(_ path: String, _ row: Int) throws -> String {
    try #require(description { _ = try stored(path, row) })
  }

  private func text(_ paths: String...) throws -> String {
    try #require(description { _ = try ShardIndex(paths: paths) })
  }

  @Test func missingFilesAndFolders() throws {
    #expect(try text("/no/such/data").contains("There is no data at /no/such/data"))
    #expect(try text(folder.path).contains("The folder \(folder.path) holds no shards"))
  }

  @Test func filesThatAreNoShards() throws {
    try Files.write(Array("text".utf8), to: folder.file("text.h5"))
    #expect(try text(folder.file("text.h5")).contains("text.h5: it is not an HDF5 file"))
    let unknown = try text(shard("a.h5", images: nil))
    #expect(unknown.contains("a.h5 is no data shard of a known layout: it has labels, where"))
    for name in ["BigGAN-PyTorch", "Fuel", "solo-learn", "encoded"] {
      #expect(unknown.contains(name))
    }
    #expect(try text(shard("a.h5", labels: nil)).contains("no dataset 'labels'"))
    #expect(try text(shard("a.h5", version: nil)).contains("no attribute 'formatVersion'"))
    #expect(try text(shard("a.h5", classNames: nil)).contains("no attribute 'classNames'"))
    #expect(try text(shard("a.h5", source: nil)).contains("no attribute 'source'"))
    #expect(try text(shard("a.h5", version: 7)).contains("shard of format 7, but this program"))
  }

  @Test func wrongShapesAndTypes() throws {
    #expect(try text(shard("a.h5", images: [2, 4, 4])).contains("'images' of"))
    #expect(try text(shard("a.h5", images: [2, 4, 4])).contains("shape [2, 4, 4]"))
    #expect(try text(shard("a.h5", labels: [0, 1, 0])).contains("[3] where [2] is expected"))
    #expect(
      try text(shard("a.h5", images: [0, 4, 4, 1], labels: [])).contains("a.h5 holds no samples"))
    let path = try shard("b.h5", images: nil)
    let file = try HDF5File(path: path, .readWrite)
    try file.root.createDataset("images", of: Float.self, shape: [2, 4, 4, 1])
    try file.close()
    #expect(try text(path).contains("holds float32 where uint8 is expected"))
  }

  @Test func labelsWithoutAClass() throws {
    let message = "Sample 1 of \(folder.file("a.h5")) has the label 2, but there are 2 classes."
    #expect(try sampleText(shard("a.h5", labels: [0, 2]), 1) == message)
    #expect(try sampleText(shard("a.h5", labels: [-1, 0]), 0).contains("the label -1"))
  }

  @Test func shardsThatDisagree() throws {
    let first = try shard("a.h5")
    let other = try text(first, shard("b.h5", images: [2, 4, 5, 1]))
    #expect(other.contains("the image shape of \(folder.file("b.h5")): 4 x 5 x 1, but of \(first)"))
    #expect(try text(first, shard("b.h5", classNames: ["a", "c"])).contains("the class names of"))
  }

  @Test func setsWithAPartMissing() throws {
    let shape = ImageShape(height: 4, width: 4, channels: 1)
    let packed = folder.file("packed")
    let index = try packSynthetic(packed, count: 9, shape: shape, shardSize: 3)
    try Files.remove(index.shards[1].path)
    #expect(try text(packed).contains("holds 2 of the 3 shards named train-*.h5"))
  }

  @Test func damagedSamplesAreNamed() throws {
    let shape = ImageShape(height: 64, width: 64, channels: 3)
    let index = try packSynthetic(folder.file("p"), count: 50, shape: shape, shardSize: 50)
    let path = index.shards[0].path
    #expect(try damage(path, at: Array(stored(path, 30).bytes[0..<64])))
    for row in [0, 29, 31, 49] { _ = try stored(path, row) }
    let one = try sampleText(path, 30)
    #expect(one.contains("Sample 30 of \(path) is damaged: its checksum is wrong"))
    let all = try #require(description { _ = try ShardInspector.summary(paths: [path]) })
    #expect(all.contains("Sample 30 of \(path)"), "\(all)")
  }

  @Test func truncatedShards() throws {
    let shape = ImageShape(height: 8, width: 8, channels: 3)
    let index = try packSynthetic(folder.file("p"), count: 50, shape: shape, shardSize: 50)
    let path = index.shards[0].path
    try Files.truncate(path, toSize: Files.size(of: path) / 2)
    #expect(try text(path).contains("the file is truncated"))
  }
}
