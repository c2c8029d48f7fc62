import Files
import Foundation
import HDF5
import TestSupport
import Testing

/// `checkpoint merge` and `checkpoint diff`.
@Suite(.serialized, .enabled(if: Program.isLaunchable, Program.whyNotLaunched))
struct CheckpointMergeTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private static let groups = ["parameters", "moments/first", "moments/second", "buffers"]

  private func merged(_ checkpoint: String, _ name: String = "merged.h5") throws -> String {
    let file = tiny.folder.file(name)
    let ended = try CLITests.checkpoint("merge", checkpoint, "--output", file)
    try #require(ended.code == 0 && ended.standardError.isEmpty, "\(ended)")
    return file
  }

  /// All tensors of a file, read through the library alone.
  private func tensors(_ path: String) throws -> [String: [Float]] {
    let root = try HDF5File(path: path, .readOnly).root
    var values: [String: [Float]] = [:]
    for group in Self.groups {
      for name in try root.group(group).memberNames() {
        values["\(group)/\(name)"] = try root.dataset("\(group)/\(name)").read()
      }
    }
    return values
  }

  // MARK: merge

  @Test(arguments: [nil, 2, 4] as [Int?])
  func mergedFileHasAllByItself(ranks: Int?) throws {
    let run = try tiny.train(ranks: ranks, set: ["parallelism.sharding=optimizer"])
    let path = "\(run)/step-00000012"
    let expected = try tensors("\(path)/checkpoint.h5")
    let inspected = try InspectedCheckpoint(path)
    let output = tiny.folder.file("new/weights.h5")
    let ended = try checkpoint("merge", path, "--output", output)
    #expect(ended.code == 0, "\(ended)")
    #expect(
      ended.standardOutput.hasPrefix("\(output): step 12, \(expected.count) tensors, 0."),
      "\(ended)")
    #expect(TemporaryFolder.names(in: tiny.folder.file("new")) == ["weights.h5"])
    #expect(try checkpoint("diff", path, output).code == 0)

    try Files.removeTree(run)
    #expect(try tensors(output) == expected)
    #expect(try InspectedCheckpoint(output).parametersHash == inspected.parametersHash)
    let root = try HDF5File(path: output, .readOnly).root
    #expect(try root.integerAttribute("step") == 12)
    #expect(try root.integerAttribute("samplerPosition") == 192)
    #expect(try root.stringAttribute("configuration").contains("embedDim: 16"))
    #expect(try root.dataset("recent/losses").shape.count == 1)
    #expect(try root.exists("layout") == false)
    let json = try checkpoint("inspect", output, "--json").standardOutput
    #expect(!json.contains("worldSize") && json.contains("samplerPosition"))
  }

  @Test func newRunsStartFromMergedFilesAsFromCheckpoints() throws {
    let path = try tiny.train(ranks: 2) + "/step-00000012"
    let file = try merged(path)
    let (first, second) = (
      try tiny.train("first", set: ["run.initializeFrom=\(path)"]),
      try tiny.train("second", ranks: 2, set: ["run.initializeFrom=\(file)"])
    )
    #expect(try metrics(of: first) == metrics(of: second))
    let ended = try checkpoint("diff", "\(first)/step-00000012", "\(second)/step-00000012")
    #expect(ended.code == 0 && ended.standardOutput.hasPrefix("no difference: "), "\(ended)")
    // Weights alone: what comes of them is not what was saved.
    #expect(try metrics(of: first) != metrics(of: try tiny.train("third")))
  }

  @Test func mergeRefusesWhatIsThereAndWhatIsDamaged() throws {
    let path = try tiny.train(ranks: 2) + "/step-00000012"
    let file = try merged(path)
    let bytes = try Files.read(file)
    let again = try checkpoint("merge", path, "--output", file)
    #expect(again.code == 65 && again.errorLines.count == 1, "\(again)")
    #expect(again.standardError.contains("\(file): the file exists already"), "\(again)")
    #expect(try Files.read(file) == bytes)
    let other = tiny.folder.file("other.h5")
    let twice = try checkpoint("merge", file, "--output", other)
    #expect(twice.code == 65 && twice.standardError.contains("that is a file; name"), "\(twice)")
    let nowhere = try checkpoint("merge", path, "--output", "/sys/cae-dist.h5")
    #expect(nowhere.code == 74 && nowhere.errorLines.count == 1, "\(nowhere)")
    try TinyRun.damageData(of: path)
    let damaged = try checkpoint("merge", path, "--output", other)
    #expect(damaged.code == 65 && damaged.errorLines.count == 1, "\(damaged)")
    #expect(damaged.standardError.contains("checksum of part-0000.h5 differs"), "\(damaged)")
    #expect(TemporaryFolder.names(in: tiny.folder.path).filter { $0.contains("other") }.isEmpty)
  }

  // MARK: diff

  /// A merged file with these tensors.
  private func state(_ name: String, _ tensors: [String: (shape: [Int], values: [Float])]) throws
    -> String
  {
    let path = tiny.folder.file(name)
    let file = try HDF5File(path: path, .create)
    try file.root.setAttribute("samplerPosition", 0)
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      try file.root.write(tensor.values, to: name, shape: tensor.shape)
    }
    try file.close()
    return path
  }

  private struct Comparison: Decodable {
    struct Tensor: Decodable, Equatable {
      let name: String
      var largestDifference: Double?
      var relativeDifference: Double?
      let index: [Int]
      let differingValues: Int
      let values: Int
      var shapes: [[Int]]?
    }
    let isEqual: Bool
    let tensorCount: Int
    let valueCount: Int
    let differences: [Tensor]
    let onlyInFirst: [String]
    let onlyInSecond: [String]
  }

  private func compare(_ first: String, _ second: String, code: Int32) throws -> Comparison {
    let ended = try checkpoint("diff", first, second, "--json")
    #expect(ended.code == code && ended.standardError.isEmpty, "\(ended)")
    return try JSONDecoder().decode(Comparison.self, from: Data(ended.standardOutput.utf8))
  }

  @Test func differencesAreMeasured() throws {
    let first = try state(
      "first.h5",
      [
        "parameters/a": ([2, 3], [1, 2, 3, 4, 5, 6]), "parameters/gone": ([1], [0]),
        "parameters/same": ([2], [.nan, .infinity]), "parameters/shape": ([2, 2], [0, 0, 0, 0]),
        "moments/first/a": ([2], [1, 2]), "moments/second/a": ([2], [1, .nan]),
        "buffers/zero": ([3], [0, 0, 0]),
      ])
    let second = try state(
      "second.h5",
      [
        "parameters/a": ([2, 3], [1, 2.25, 3, 4, 4.5, -8]),
        "parameters/same": ([2], [-.nan, .infinity]),
        "parameters/shape": ([4], [0, 0, 0, 0]), "moments/first/a": ([2], [1, 2]),
        "moments/second/a": ([2], [1, 2]), "buffers/zero": ([3], [0, -0.0, 0]),
        "buffers/new": ([1], [0]),
      ])
    let found = try compare(first, second, code: 1)
    #expect(
      found.differences == [
        .init(name: "moments/second/a", index: [1], differingValues: 1, values: 2),
        .init(
          name: "parameters/shape", index: [], differingValues: 4, values: 4,
          shapes: [[2, 2], [4]]),
        .init(
          name: "parameters/a", largestDifference: 14, relativeDifference: 14.0 / 8, index: [1, 2],
          differingValues: 3, values: 6),
        .init(
          name: "buffers/zero", largestDifference: 0, relativeDifference: 0, index: [1],
          differingValues: 1, values: 3),
      ])
    #expect(!found.isEqual && found.tensorCount == 6 && found.valueCount == 6 + 2 + 2 + 2 + 3)
    #expect(found.onlyInFirst == ["parameters/gone"] && found.onlyInSecond == ["buffers/new"])

    let text = try checkpoint("diff", first, second)
    #expect(text.code == 1, "\(text)")
    #expect(
      text.lines == [
        "moments/second/a: infinite at [1], 1 of 2 values differ",
        "parameters/shape: [2, 2] against [4]",
        "parameters/a: 1.400e+01 at [1, 2], relative 1.750e+00, 3 of 6 values differ",
        "buffers/zero: 0.000e+00 at [1], relative 0.000e+00, 1 of 3 values differ",
        "parameters/gone: only in \(first)", "buffers/new: only in \(second)",
        "4 of 6 tensors differ",
      ], "\(text)")
    #expect(try compare(first, first, code: 0).isEqual)
  }

  /// The numbers of one value of a real checkpoint that was changed on purpose.
  @Test func changedValueIsFoundInARealCheckpoint() throws {
    let path = try tiny.train(ranks: 2) + "/step-00000012"
    let file = try merged(path)
    let same = try compare(path, file, code: 0)
    let all = try tensors(file)
    #expect(same.isEqual && same.tensorCount == all.count)
    #expect(same.valueCount == all.values.reduce(0) { $0 + $1.count })

    let name = "moments/first/encoder.norm.weight"
    var values = try #require(all[name])
    values[5] += 3
    let expected = Double(values[5]) - Double(try #require(all[name])[5])
    let opened = try HDF5File(path: file, .readWrite)
    try opened.root.dataset(name).write(values)
    try opened.close()
    let found = try compare(path, file, code: 1)
    #expect(
      found.differences == [
        .init(
          name: name, largestDifference: expected,
          relativeDifference: expected / Double(values[5]), index: [5], differingValues: 1,
          values: 16)
      ])
  }

  @Test func runsOfAnyNumberOfRanksAreTheSame() throws {
    let alone = try tiny.train("alone") + "/step-00000012"
    for ranks in [2, 4] {
      let other = try tiny.train("ranks-\(ranks)", ranks: ranks) + "/step-00000012"
      let ended = try checkpoint("diff", alone, other)
      #expect(ended.code == 0 && ended.lines.count == 1, "\(ended)")
    }
    let earlier = try checkpoint("diff", alone, tiny.folder.file("alone/step-00000009"))
    #expect(earlier.code == 1, "\(earlier)")
    #expect(earlier.lines.last?.hasSuffix(" tensors differ") == true, "\(earlier)")
  }
}
