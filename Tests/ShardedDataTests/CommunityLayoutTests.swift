import Files
import HDF5
import Interfaces
import TensorCore
import Testing

@testable import ShardedData

/// Files that `Scripts/reference/make-community-shards.py` has written with h5py, in the layouts of
/// other projects.
@Suite(.timeLimit(.minutes(1))) struct CommunityLayoutTests {
  private static let golden = GoldenFolder.path
  private let images: [UInt8]
  private let labels: [Int32]
  private let sortedRows: [Int]
  private let shape: ImageShape

  init() throws {
    let root = try HDF5File(path: "\(Self.golden)/community-expected.h5", .readOnly).root
    let dataset = try root.dataset("images")
    images = try dataset.read()
    labels = try root.dataset("labels").read()
    sortedRows = try root.dataset("sortedRows").read(as: Int32.self).map(Int.init)
    shape = ImageShape(
      height: dataset.shape[1], width: dataset.shape[2], channels: dataset.shape[3])
  }

  private func expected(_ row: Int) -> ArraySlice<UInt8> {
    images[row * shape.byteCount..<(row + 1) * shape.byteCount]
  }

  /// Pixels of a sample without padding.
  private func pixels(_ sample: StoredSample, _ decoder: SampleDecoder) throws -> [UInt8] {
    let view = try decoder.region(of: sample, box: nil, needed: nil).pixels
    return (0..<view.width * view.height).flatMap { pixel in
      (0..<3).map { view.pointer[pixel * view.pixelStride + $0] }
    }
  }

  private func check(
    _ name: String, layout: ShardLayout, count: Int, rows: [Int]
  ) throws -> ShardIndex {
    let path = "\(Self.golden)/community-\(name).h5"
    let (reader, sample) = (ShardReader(path: path), StoredSample())
    let decoder = SampleDecoder(channels: 3)
    let header = try reader.header()
    #expect(header.layout == layout && header.count == count)
    for (place, row) in rows.enumerated() {
      try reader.read(place, into: sample)
      #expect(sample.label == labels[row])
      let found = try pixels(sample, decoder)
      let difference = zip(found, expected(row)).map { abs(Int($0) - Int($1)) }.max() ?? 0
      #expect(found.count == shape.byteCount && difference == 0, "\(name) \(place)")
    }
    return try ShardIndex(paths: [path])
  }

  @Test func bigGAN() throws {
    let index = try check("biggan", layout: .bigGAN, count: 24, rows: Array(0..<24))
    #expect(index.imageShape == shape && index.classNames.isEmpty)
    try expectBatches(index)
  }

  @Test func fuel() throws {
    let index = try check("fuel", layout: .fuel, count: 26, rows: Array(0..<24))
    let (reader, sample) = (ShardReader(path: index.shards[0].path), StoredSample())
    // Images of the test set have no target.
    try reader.read(25, into: sample)
    #expect(sample.label == -1)
    #expect(try reader.key(of: 0).hasSuffix(".JPEG"))
    try expectBatches(index)
  }

  @Test func classGroups() throws {
    let index = try check("sololearn", layout: .classGroups, count: 24, rows: sortedRows)
    #expect(index.classNames.count == 3)
    let key = try ShardReader(path: index.shards[0].path).key(of: 0)
    #expect(key.hasPrefix(index.classNames[0] + "/"))
    try expectBatches(index)
  }

  /// A layout message that says a dataset lies within it, in 0 bytes: the library would read from
  /// nowhere.
  @Test func imagesWithinTheirHeaderHaveToBeThere() throws {
    let folder = try ScratchFolder()
    var bytes = try Files.read("\(Self.golden)/community-sololearn.h5")
    // Version 3, chunked, two extents, behind the header of a message of type 8.
    let place = try #require(
      bytes.indices.dropLast(11).first {
        bytes[$0..<($0 + 2)] == [8, 0] && bytes[($0 + 5)..<($0 + 11)] == [0, 0, 0, 3, 2, 2]
      })
    bytes.replaceSubrange((place + 9)..<(place + 12), with: [0, 0, 0])
    try Files.write(bytes, to: folder.file("copy.h5"))
    var verifier = ShardVerifier()
    verifier.verify(paths: [folder.file("copy.h5")])
    #expect(verifier.findings.count == 1)
    #expect(verifier.findings.first?.reason.contains("its header has 0 bytes of it") == true)
  }

  /// Training batches come out, resident or not.
  private func expectBatches(_ index: ShardIndex) throws {
    var reference: [[Float]]?
    for budget in [0, 1 << 30] {
      var options = LoaderOptions(seed: 1)
      (options.memoryBudget, options.threads) = (budget, 2)
      let sampler = DistributedSampler(count: index.count, seed: 1, windowSize: 8)
      let loader = try BatchLoader(
        index: index, transform: .training(trainingPlan), options: options
      ) { request in
        request < 3
          ? sampler.samples(
            step: request, microBatch: 0, microBatchSize: 8, globalBatchSize: 8) : nil
      }
      var values: [[Float]] = []
      while let batch = try loader.next() { values += batch.views.map(\.values) }
      #expect(values.count == 6 && values.allSatisfy { $0.allSatisfy(\.isFinite) })
      if let reference { #expect(values == reference) } else { reference = values }
    }
  }

  /// Files of other projects become shards of ours with the same images, labels and keys.
  @Test(arguments: ["biggan", "fuel", "sololearn"])
  func packingAnewKeepsEverything(name: String) throws {
    let folder = try ScratchFolder()
    let path = "\(Self.golden)/community-\(name).h5"
    let source = try ShardSource(paths: [path])
    let format: PackOptions.Format =
      name == "biggan" ? .raw(size: nil, channels: 3) : .encoded(shorterSide: nil, quality: 95)
    var options = PackOptions(format: format)
    (options.order, options.shardSize) = (.asIs, 10)
    let paths = try ShardPacker(source, to: folder.path, name: "x", options: options).packAll()
    let index = try ShardIndex(paths: paths)
    #expect(index.count == source.count && index.classNames == source.classNames)
    let (old, new) = (StoredSample(), StoredSample())
    let decoders = (SampleDecoder(channels: 3), SampleDecoder(channels: 3))
    let reader = ShardReader(path: path)
    for number in 0..<index.count {
      let (shard, row) = index.location(of: number)
      try reader.read(number, into: old)
      try ShardReader(path: paths[shard]).read(row, into: new)
      #expect(try pixels(old, decoders.0) == pixels(new, decoders.1))
      #expect(old.label == new.label || (old.label == -1 && index.classNames.last == "unlabelled"))
      #expect(try reader.key(of: number) == ShardReader(path: paths[shard]).key(of: row))
    }
    var verifier = ShardVerifier()
    verifier.verify(paths: paths)
    #expect(verifier.findings.isEmpty)
  }
}
