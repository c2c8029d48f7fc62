import Artifacts
import DataParallel
import Files
import Interfaces
import JPEGCodec
import ShardedData
import TestSupport
import Testing

@testable import Training

/// Targets that are computed beforehand, and runs that use them.
@Suite struct TargetEncodingTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func encode(ranks: Int = 1, views: Int = 2, set: [String] = [], to folder: String) throws
  {
    let codes = try ThreadProcessGroup.run(count: ranks) { group in
      try TargetEncoding.run(group, output: tiny.folder.file(folder)) {
        try tiny.resolve(TinyRun.Options(set: ["data.fixedViews=\(views)"] + set))
      }
    }
    #expect(codes == [ExitCode](repeating: .success, count: ranks))
  }

  @discardableResult
  private func train(_ output: String, _ set: [String]) throws -> RunOutcome {
    try tiny.finish {
      $0.output = output
      $0.set = set
    }
  }

  private func files(_ folder: String) throws -> [[UInt8]] {
    try Files.list(tiny.folder.file(folder)).map {
      try Files.read("\(tiny.folder.file(folder))/\($0)")
    }
  }

  /// Two epochs of fixed pictures: the same losses, whether tokens are computed or read.
  @Test func aRunWithTokensIsTheRunThatComputesThem() throws {
    try encode(to: "tokens")
    let tokens = "data.targets=\"\(tiny.folder.file("tokens"))\""
    let computed = try train("a", ["data.fixedViews=2"])
    let read = try train("b", ["data.fixedViews=2", tokens, "method.tokenizer=\"\""])
    #expect(try computed.metrics() == read.metrics())
    #expect(try computed.hash() == read.hash())
    // Both epochs have the one picture: other crops than those of two.
    let one = try train("c", ["data.fixedViews=1"])
    #expect(try one.metrics() != computed.metrics())
  }

  /// The DALL-E encoder's pictures are larger than the model's here, and JPEG files are decoded at
  /// reduced size: further where only small pictures are needed.
  @Test func tokensOfFilesAreThoseOfTheSamePictures() throws {
    let shape = ImageShape(height: 300, width: 280, channels: 3)
    let images = SyntheticImages(count: 12, imageShape: shape, seed: 3)
    try Files.makeDirectory(tiny.folder.file("photos"))
    for number in 0..<12 {
      let bytes = try images.image(at: number).withUnsafeBufferPointer { buffer in
        try JPEGEncoder.encode(
          try #require(buffer.baseAddress), width: shape.width, height: shape.height,
          pixelStride: 3, quality: 90)
      }
      try Files.write(bytes, to: tiny.folder.file("photos/\(number).jpg"))
    }
    _ = try ShardPacker(
      try ClassFolderSource(path: tiny.folder.file("photos")), to: tiny.folder.file("files"),
      name: "files", options: PackOptions(format: .encoded(shorterSide: nil, quality: 95))
    ).packAll()
    let encoder = tiny.folder.file("encoder.safetensors")
    try SafetensorsWriter.write(
      to: encoder, tensors: DALLEWeights.encoder(hiddenWidth: 8, vocabularySize: 24))
    let set = [
      "data.train=[\"\(tiny.folder.file("files"))\"]", "data.fixedViews=1", "model.channels=3",
      "data.mean=[0.5, 0.5, 0.5]", "data.standardDeviation=[0.25, 0.25, 0.25]",
      "method.tokenizer=\"\(encoder)\"", "parallelism.globalBatchSize=4",
    ]
    try encode(views: 1, set: set, to: "tokens")
    let computed = try train("a", set)
    let read = try train("b", set + ["data.targets=\"\(tiny.folder.file("tokens"))\""])
    #expect(try computed.metrics() == read.metrics())
    let larger = failure(
      set + [
        "data.targets=\"\(tiny.folder.file("tokens"))\"", "model.imageSize=64",
        "model.patchSize=16",
      ])
    #expect(larger.contains("beside pictures of 32 pixels, not 64"), "\(larger)")
  }

  @Test func tokensDoNotDependOnTheRanks() throws {
    try encode(to: "one")
    try encode(ranks: 3, to: "three")
    #expect(try files("one").count == 3)
    #expect(try files("one") == files("three"))
    // What is complete is not computed again.
    try encode(ranks: 2, to: "one")
    #expect(try files("one") == files("three"))
  }

  private func failure(_ set: [String]) -> String {
    do {
      try train("x", set)
      return "trained"
    } catch let failure as AgreedFailure {
      return failure.text
    } catch {
      return "\(error)"
    }
  }

  @Test func tokensOfOtherPicturesAreRefused() throws {
    try encode(to: "tokens")
    let tokens = "data.targets=\"\(tiny.folder.file("tokens"))\""
    let crops = failure([tokens, "data.fixedViews=2", "data.cropScale=[0.4, 1]"])
    #expect(crops.contains("its settings is crops of [0.5, 1.0]"), "\(crops)")
    #expect(failure([tokens, "data.fixedViews=3"]).contains("its views is 2, not 3"))
    #expect(failure([tokens]).contains("data.fixedViews"))
    #expect(
      failure([
        tokens, "data.fixedViews=2", "data.validation=[\"\(tiny.validation)\"]",
        "logging.validateEverySteps=3",
      ])
      .contains("logging.validateEverySteps: must be 0 with data.targets"))
    let none = "data.targets=\"\(tiny.folder.file("none"))\""
    #expect(failure([none, "data.fixedViews=2"]).contains("There are no targets of"))
    // Other images under the same names.
    try Files.removeTree(tiny.train)
    var options = PackOptions(format: .raw(size: nil, channels: 1))
    options.shardSize = 40
    let others = SyntheticImages(
      count: TinyRun.imageCount, imageShape: ImageShape(height: 16, width: 16, channels: 1), seed: 9
    )
    _ = try ShardPacker(others, to: tiny.train, name: "images", options: options).packAll()
    let moved = failure([tokens, "data.fixedViews=2"])
    #expect(moved.contains("its shard is 32 samples"), "\(moved)")
  }

  @Test func encodingNeedsFixedViews() throws {
    let error = #expect(throws: (any Error).self) {
      try encode(views: 0, to: "tokens")
    }
    #expect("\(try #require(error))".contains("data.fixedViews"))
  }

  /// A killed writer goes on after the last block that it has written to its end.
  @Test func aKilledEncodingGoesOn() throws {
    let index = try ShardIndex(paths: [tiny.train])
    let shard = index.shards[0]
    let description = TargetDescription(
      .tokens(vocabularySize: 32), grid: 4, views: 2, settings: "s", source: "t", pictureSize: 16)
    let folder = tiny.folder.file("killed")
    var options = PackOptions(format: .raw(size: nil, channels: 1))
    options.shardSize = 200
    let many = SyntheticImages(
      count: 150, imageShape: ImageShape(height: 16, width: 16, channels: 1), seed: 9)
    let path = try ShardPacker(
      many, to: tiny.folder.file("many"), name: "many", options: options
    ).packAll()[0]
    let large = try ShardIndex(paths: [path]).shards[0]
    #expect(shard.count == 32 && large.count == 150)
    func tokens(_ samples: Range<Int>) -> [UInt8] {
      samples.flatMap { sample in (0..<64).map { UInt8($0 % 2 * ((sample * 7 + $0) % 32)) } }
    }
    do {
      let writer = try TargetShardWriter(description, of: large, in: folder)
      try writer.append(tokens(0..<64))
      try writer.append(tokens(64..<128))
    }
    let spool = "\(folder)/.many-00000-of-00001.h5.partial"
    // The second block was cut off.
    try Files.truncate(spool, toSize: Files.size(of: spool) - 100)
    var writer = try TargetShardWriter(description, of: large, in: folder)
    #expect(writer.count == 64)
    try writer.append(tokens(64..<128))
    try writer.append(tokens(128..<150))
    // And all of it again, but for the finish.
    writer = try TargetShardWriter(description, of: large, in: folder)
    #expect(writer.count == 150)
    try writer.finish()
    #expect(try TargetShardWriter.isComplete(description, of: large, in: folder))
    #expect(try Files.list(folder, includingHidden: true) == ["many-00000-of-00001.h5"])
    var other = description
    other.source = "u"
    #expect(throws: ShardError.self) {
      try TargetShardWriter.isComplete(other, of: large, in: folder)
    }
    // Blocks of other settings are not taken over.
    #expect(try TargetShardWriter(other, of: shard, in: folder).count == 0)
  }
}
