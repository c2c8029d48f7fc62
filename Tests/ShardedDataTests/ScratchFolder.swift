import Files
import Glibc
import HDF5
import Interfaces

@testable import ShardedData

/// A folder that is removed with all it holds when the test is over.
final class ScratchFolder {
  let path: String

  init() throws {
    var template = Array("/tmp/sharded-data-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw FileError(operation: "make folder", path: "/tmp", code: errno)
    }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { try? Files.removeTree(path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }
}

/// The error that a body throws, as text; nil when it throws none.
func description(of body: () throws -> Void) -> String? {
  do {
    try body()
    return nil
  } catch {
    return "\(error)"
  }
}

/// Packs synthetic images into a folder and returns their index.
func packSynthetic(
  _ folder: String, count: Int = 50, shape: ImageShape, shardSize: Int, name: String = "train",
  classCount: Int = 10
) throws -> ShardIndex {
  let source = SyntheticImages(count: count, imageShape: shape, classCount: classCount, seed: 4)
  _ = try pack(source, to: folder, name: name, shardSize: shardSize)
  return try ShardIndex(paths: [folder])
}

/// Packs raw shards; returns their paths.
func pack(
  _ source: some ImageSource, to folder: String, name: String, shardSize: Int,
  order: PackOptions.Order = .stratified, size: Int? = nil, channels: Int = 3,
  progress: () -> Void = {}
) throws -> [String] {
  var options = PackOptions(format: .raw(size: size, channels: channels))
  (options.order, options.shardSize) = (order, shardSize)
  return try ShardPacker(source, to: folder, name: name, options: options).packAll(
    progress: progress)
}

/// A sample as it lies in a shard: its bytes, checked, its label and its key.
func stored(_ path: String, _ row: Int) throws -> (bytes: [UInt8], label: Int32, key: String) {
  let (reader, sample) = (ShardReader(path: path), StoredSample())
  try reader.read(row, into: sample)
  try sample.verify()
  return (Array(sample.bytes), sample.label, try reader.key(of: row))
}

/// Flips a bit of the first place where `pattern` lies in a file.
func damage(_ path: String, at pattern: [UInt8]) throws -> Bool {
  var bytes = try Files.read(path)
  guard let place = bytes.firstRange(of: pattern)?.lowerBound else { return false }
  bytes[place] ^= 0x40
  try Files.write(bytes, to: path)
  return true
}

let trainingPlan = ViewPlan(
  cropScale: 0.3...1, cropAspect: 0.75...(4.0 / 3), flipProbability: 0.5,
  views: [
    ViewSpecification(
      size: 16, filter: .bicubic, mean: [0.5, 0.4, 0.3], standardDeviation: [0.2, 0.3, 0.4]),
    ViewSpecification(
      size: 8, filter: .lanczos, mean: [0, 0, 0], standardDeviation: [1, 1, 1]),
  ])

/// The folder of golden files.
enum GoldenFolder {
  static let path =
    #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
    .joined(separator: "/") + "/Golden"
}
