import Files
import Foundation
import HDF5
import NN
import TensorCore
import TestSupport
import Testing

@testable import DataParallel

@Suite struct CheckpointTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder("checkpoint") }

  // MARK: Round trip

  /// Who has saved, and who loads.
  static let layouts: [([Int], [Int])] = [
    ([0], [0]), ([0], [0, 0, 0]), ([0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0]),
    ([0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0]), ([0, 0, 0, 0, 0, 0, 0, 0], [0]),
    ([0, 0, 1, 1], [0, 1, 2]), ([0, 1, 2], [0, 1, 1, 1, 2]), ([0, 0, 1], [0, 1, 0, 1]),
  ]

  @Test(arguments: layouts, Sharding.allCases)
  func comesBackBitForBitOnAnyLayout(_ layout: ([Int], [Int]), sharding: Sharding) throws {
    for sharesMemory in [true, false] {
      var saved = SavedRun(hosts: layout.0, sharding: sharding)
      saved.options.sharesMemory = sharesMemory
      saved.isAsynchronous = sharesMemory
      let path = try saved.save(to: folder.file("\(sharesMemory)"))
      #expect(path == folder.file("\(sharesMemory)/step-00000012"))
      #expect(try CheckpointReader(path: path).header == SavedRun.header)
      for other in Sharding.allCases {
        let loaded = try SavedRun(hosts: layout.1, sharding: other).load(path)
        #expect(loaded.state == saved.state(seed: 1), "\(other)")
      }
    }
  }

  /// Each byte of the state is written once, and each rank reads its own slices, in whole blocks.
  @Test(arguments: [1, 3, 5, 8])
  func ranksReadTheirSlices(count: Int) throws {
    var saved = SavedRun(hosts: Array(repeating: 0, count: 8))
    saved.shapes.append(("huge", [1 << 10, 1 << 11]))
    saved.options.bucketBytes = 4 << 20
    let path = try saved.save(to: folder.path)
    let state = 12 * saved.tree.flatCount + 24
    let reader = try CheckpointReader(path: path)
    let logical = try Files.size(of: "\(path)/checkpoint.h5")
    #expect(reader.byteCount - logical < state + 8 * 4096)
    var loading = saved
    loading.hosts = Array(repeating: 0, count: count)
    let reports = try loading.load(path).reports
    #expect(reports.reduce(0) { $0 + $1.bytesNeeded } - state == (count - 1) * 24)
    for report in reports {
      let excess = Double(report.bytesRead - logical) / Double(report.bytesNeeded)
      #expect(excess < 1.35, "\(report)")
    }
  }

  @Test func copyIsOfTheMomentOfTheSave() throws {
    let saved = SavedRun(hosts: [0, 0])
    let path = try saved.save(to: folder.path, change: 2)
    #expect(try saved.load(path).state == saved.state(seed: 1))
  }

  /// A later version may register parameters in another order.
  @Test func parametersAreFoundByName() throws {
    let path = try SavedRun(hosts: [0, 0, 0]).save(to: folder.path)
    var other = SavedRun(hosts: [0, 0])
    other.shapes.reverse()
    let count = other.shapes.count
    let tensors = try other.load(path).state.tensors
    let expected = SavedRun().state(seed: 1).tensors
    for kind in 0..<3 {
      #expect(
        tensors[kind * count..<(kind + 1) * count].reversed()
          == Array(expected[kind * count..<(kind + 1) * count]))
    }
  }

  // MARK: For others

  @Test(arguments: [[0], [0, 0, 0], [0, 1]])
  func oneLogicalFile(hosts: [Int]) throws {
    let saved = SavedRun(hosts: hosts)
    let path = try saved.save(to: folder.path)
    let parts = hosts.indices.map { "part-000\($0).h5" }
    #expect(TemporaryFolder.names(in: path) == ["checkpoint.h5", "manifest.json"] + parts)
    let root = try HDF5File(path: "\(path)/checkpoint.h5", .readOnly).root
    let names = SavedRun.shapes.map(\.0)
    let groups = ["parameters", "moments/first", "moments/second"]
    let bits = saved.state(seed: 1).tensors
    for (index, place) in groups.flatMap({ group in names.map { "\(group)/\($0)" } }).enumerated() {
      let dataset = try root.dataset(place)
      #expect(dataset.shape == SavedRun.shapes[index % names.count].1.dimensions, "\(place)")
      #expect(try dataset.read(as: Float.self).map(\.bitPattern) == bits[index], "\(place)")
    }
    let centre = try root.dataset("buffers/teacher.centre").read(as: Float.self)
    #expect(centre.map(\.bitPattern) == bits.last)
    #expect(try root.integerAttribute("formatVersion") == 2)
    #expect(try root.integerAttribute("worldSize") == hosts.count)
    #expect(try root.integerAttribute("samplerPosition") == 192)
    // A missing part can never read as zeros.
    try Files.remove("\(path)/part-0000.h5")
    let without = try HDF5File(path: "\(path)/checkpoint.h5", .readOnly).root
    #expect(
      try without.dataset("moments/first/large").read(as: Float.self).contains(where: \.isNaN))
  }

  @Test func manifestIsJSON() throws {
    struct Written: Decodable {
      struct File: Decodable {
        let name: String
        let size: Int
        let dataOffset: Int
        let dataSize: Int
        let xxh64: String
      }
      let formatVersion: Int
      let step: Int
      let files: [File]
      let checksum: String
    }
    let path = try SavedRun(hosts: [0, 0]).save(to: folder.path)
    let text = try Files.readText("\(path)/manifest.json")
    let written = try JSONDecoder().decode(Written.self, from: Data(text.utf8))
    #expect(written.formatVersion == 2)
    #expect(written.step == 12)
    #expect(written.files.map(\.name) == ["checkpoint.h5", "part-0000.h5", "part-0001.h5"])
    for file in written.files {
      let bytes = try Files.read("\(path)/\(file.name)")
      #expect(bytes.count == file.size)
      let data = file.dataOffset..<file.dataOffset + file.dataSize
      #expect(hash(bytes[..<data.lowerBound] + bytes[data.upperBound...]) == file.xxh64)
      guard file.name != "checkpoint.h5" else { continue }
      // What anybody can check with the library alone.
      let part = try HDF5File(path: "\(path)/\(file.name)", .readOnly).root
      let blocks = stride(from: data.lowerBound, to: data.upperBound, by: 65536).map {
        hash(bytes[$0..<min($0 + 65536, data.upperBound)])
      }
      let checksums = try part.dataset("checksums").read(as: UInt64.self)
      #expect(checksums.map(Hash64.hex) == blocks)
      #expect(try part.dataset("values").count * 4 == file.dataSize)
      #expect(blocks.count > 2)
    }
    let body = try #require(text.range(of: "  \"checksum\"")).lowerBound
    #expect(hash(Array(text[..<body].utf8)[...]) == written.checksum)
  }

  private func hash(_ bytes: ArraySlice<UInt8>) -> String {
    var hash = Hash64()
    bytes.withUnsafeBytes { hash.update($0) }
    return Hash64.hex(hash.finalize())
  }

  @Test func boxesCoverARangeInItsOrder() {
    for shape in [[7], [3, 5], [1, 1, 4], [2, 3, 2, 3], [5, 1, 3]] {
      let count = shape.reduce(1, *)
      for lower in 0..<count {
        for upper in lower + 1...count {
          let places = boxes(of: lower..<upper, in: shape).flatMap { elements($0, of: shape) }
          #expect(places == Array(lower..<upper), "\(shape)")
        }
      }
    }
  }

  /// Places of a box in row-major order.
  private func elements(_ box: (start: [Int], count: [Int]), of shape: [Int]) -> [Int] {
    var places = [0]
    for dimension in shape.indices {
      places = places.flatMap { place in
        (0..<box.count[dimension]).map { place * shape[dimension] + box.start[dimension] + $0 }
      }
    }
    return places
  }

  // MARK: Other models

  /// What is said about a model with other parameters.
  @Test(
    arguments: [
      (["encoder.weight", "encoder.bias", "mask_token", "patch", "large"], [3, 5], "head"),
      (SavedRun.shapes.map(\.0) + ["tail"], [3, 5], "it has no tail"),
      (SavedRun.shapes.map(\.0), [5, 3], "encoder.weight is [3, 5]"),
      (SavedRun.shapes.map(\.0), [15], "encoder.weight is [3, 5]"),
    ] as [([String], [Int], String)])
  func otherModelIsNamed(names: [String], first: [Int], word: String) throws {
    let path = try SavedRun(hosts: [0, 0]).save(to: folder.path)
    let shapes = Dictionary(uniqueKeysWithValues: SavedRun.shapes)
    var other = SavedRun()
    other.shapes = names.map { ($0, $0 == "encoder.weight" ? Shape(first) : shapes[$0] ?? [2]) }
    let error = try #require(other.failure(path))
    guard case .mismatch = error else { throw error }
    #expect("\(error)".contains(word))
  }

  @Test func otherBufferIsNamed() throws {
    let path = try SavedRun().save(to: folder.path)
    var other = SavedRun()
    other.bufferName = "momentum"
    #expect("\(other.failure(path), default: "")".contains("it has no buffers/momentum"))
    other = SavedRun()
    other.bufferShape = [3, 2]
    #expect(
      "\(other.failure(path), default: "")".contains("buffers/teacher.centre is [2, 3]"))
  }
}
