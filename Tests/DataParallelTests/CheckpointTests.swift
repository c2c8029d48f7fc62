import Files
import Foundation
import HDF5
import NN
import TensorCore
import TestSupport
import Testing

@testable import DataParallel

/// A state of a few odd shapes, filled with values that only a bitwise copy keeps.
private struct SmallState {
  static let header = CheckpointHeader(
    step: 12, samplesSeen: 192, configuration: "run: {seed: 7}\n# caf\u{E9}\n",
    programVersion: "0.0.0-test")
  static let standard: [(String, Shape)] = [
    ("encoder.weight", [3, 5]), ("encoder.bias", [5]), ("mask_token", [1, 1, 4]), ("head", [2, 7]),
  ]

  let state: TrainingState

  init(filledFrom seed: UInt64, _ parameters: [(String, Shape)] = standard) {
    let tree = ParameterTree()
    for (name, shape) in parameters { _ = tree.add(name, shape, .constant(0)) }
    let heap = HeapAllocator()
    state = TrainingState(
      tree: tree, parameters: FlatBuffer(for: tree, allocator: heap, purpose: "parameters"),
      firstMoments: FlatBuffer(for: tree, allocator: heap, purpose: "first moments"),
      secondMoments: FlatBuffer(for: tree, allocator: heap, purpose: "second moments"),
      buffers: [NamedBuffer(name: "teacher.centre", tensor: Tensor(repeating: 0, shape: [2, 3]))])
    var random = CounterRandom(seed: seed, stream: .synthetic)
    for tensor in tensors {
      // Any bits: among them NaNs with a payload, subnormal numbers and -0.
      for index in 0..<tensor.count {
        tensor.pointer[index] = Float(bitPattern: random.nextUInt32())
      }
      tensor.pointer[0] = -0.0
    }
  }

  var tensors: [Tensor] {
    let entries = state.tree.entries.map(\.parameter)
    let flat = [state.parameters, state.firstMoments, state.secondMoments]
    return flat.flatMap { buffer in entries.map(buffer.tensor) } + state.buffers.map(\.tensor)
  }

  var bits: [[UInt32]] { tensors.map { $0.values.map(\.bitPattern) } }

  func write(to folder: String, step: Int = header.step) throws -> String {
    let header = CheckpointHeader(
      step: step, samplesSeen: step * 16, configuration: Self.header.configuration,
      programVersion: Self.header.programVersion)
    return try CheckpointWriter.write(state, header, to: folder)
  }

  /// Writes a checkpoint, changes its HDF5 file, and makes the manifest fit again.
  func write(
    to folder: String, changing change: (HDF5Group) throws -> Void
  ) throws -> String {
    let path = try write(to: folder)
    let data = "\(path)/checkpoint.h5"
    let file = try HDF5File(path: data, .readWrite)
    try change(file.root)
    try file.close()
    let manifest = Manifest(step: Self.header.step, entries: [try CheckpointWriter.entry(data)])
    try Files.write(Array(manifest.text.utf8), to: "\(path)/manifest.json")
    return path
  }
}

/// The error of opening a checkpoint and loading it into a state.
private func failure(_ path: String, into state: SmallState? = nil) -> CheckpointError? {
  do throws(CheckpointError) {
    let reader = try CheckpointReader(path: path)
    try reader.load(into: (state ?? SmallState(filledFrom: 99)).state)
    return nil
  } catch {
    return error
  }
}

@Suite struct CheckpointTests {
  private let folder: TemporaryFolder
  private let saved = SmallState(filledFrom: 1)

  init() throws { folder = try TemporaryFolder("checkpoint") }

  // MARK: Round trip

  @Test func comesBackBitForBit() throws {
    let path = try saved.write(to: folder.path)
    #expect(path == folder.file("step-00000012"))
    let other = SmallState(filledFrom: 2)
    #expect(other.bits != saved.bits)
    let reader = try CheckpointReader(path: path)
    try reader.load(into: other.state)
    #expect(reader.header == SmallState.header)
    #expect(other.bits == saved.bits)
  }

  @Test func sameStateHasTheSameHash() throws {
    let first = try CheckpointReader(path: try saved.write(to: folder.file("a")))
    let second = try CheckpointReader(path: try saved.write(to: folder.file("b")))
    let other = try CheckpointReader(
      path: try SmallState(filledFrom: 2).write(to: folder.file("c")))
    #expect(try first.parametersSummary().hash == second.parametersSummary().hash)
    #expect(try first.parametersSummary().hash != other.parametersSummary().hash)
    let shapes = try first.parametersSummary().shapes
    #expect(shapes.map(\.name) == ["encoder.bias", "encoder.weight", "head", "mask_token"])
    #expect(shapes.map(\.shape) == [[5], [3, 5], [2, 7], [1, 1, 4]])
  }

  @Test func loadsParametersAlone() throws {
    let other = SmallState(filledFrom: 2)
    let before = other.bits
    try CheckpointReader(path: try saved.write(to: folder.path))
      .loadParameters(other.state.tree, into: other.state.parameters)
    let count = SmallState.standard.count
    #expect(other.bits[..<count] == saved.bits[..<count])
    #expect(other.bits[count...] == before[count...])
  }

  @Test func layoutIsReadableByOthers() throws {
    let path = try saved.write(to: folder.path)
    #expect(TemporaryFolder.names(in: path) == ["checkpoint.h5", "manifest.json"])
    let root = try HDF5File(path: "\(path)/checkpoint.h5", .readOnly).root
    #expect(try root.memberNames().sorted() == ["buffers", "moments", "parameters"])
    let names = SmallState.standard.map(\.0)
    let groups = ["parameters", "moments/first", "moments/second"]
    for (index, place) in groups.flatMap({ group in names.map { "\(group)/\($0)" } }).enumerated() {
      let dataset = try root.dataset(place)
      #expect(dataset.shape == saved.tensors[index].shape.dimensions, "\(place)")
      #expect(dataset.elementType == .float32, "\(place)")
      #expect(try dataset.read(as: Float.self).map(\.bitPattern) == saved.bits[index], "\(place)")
    }
    #expect(
      try root.dataset("buffers/teacher.centre").read(as: Float.self).map(\.bitPattern)
        == saved.bits.last)
    #expect(try root.integerAttribute("formatVersion") == 1)
    #expect(try root.integerAttribute("step") == 12)
    #expect(try root.integerAttribute("samplesSeen") == 192)
    #expect(try root.stringAttribute("configuration") == SmallState.header.configuration)
    #expect(try root.stringAttribute("programVersion") == "0.0.0-test")
  }

  @Test func manifestIsJSON() throws {
    struct Written: Decodable {
      struct File: Decodable {
        let name: String
        let size: Int
        let xxh64: String
      }
      let formatVersion: Int
      let step: Int
      let files: [File]
    }
    let path = try saved.write(to: folder.path)
    let written = try JSONDecoder().decode(
      Written.self, from: Data(try Files.read("\(path)/manifest.json")))
    let (size, hash) = try Hash64.ofFile("\(path)/checkpoint.h5")
    #expect(written.formatVersion == 1)
    #expect(written.step == 12)
    #expect(written.files.map(\.name) == ["checkpoint.h5"])
    #expect(written.files.map(\.size) == [size])
    #expect(written.files.map(\.xxh64) == [Hash64.hex(hash)])
  }

  // MARK: Damage

  @Test(arguments: [0.0, 0.1, 0.33, 0.5, 0.77, 0.9, 1.0])
  func oneFlippedByteIsDamage(place: Double) throws {
    let path = try saved.write(to: folder.path)
    let size = try Files.size(of: "\(path)/checkpoint.h5")
    try TemporaryFolder.flipByte(
      of: "\(path)/checkpoint.h5", at: min(Int(place * Double(size)), size - 1))
    let error = try #require(failure(path))
    guard case .damaged = error else { throw error }
    #expect("\(error)".contains("checksum of checkpoint.h5 differs"))
    #expect("\(error)".contains(path))
  }

  @Test func truncationNamesBothSizes() throws {
    let path = try saved.write(to: folder.path)
    let size = try Files.size(of: "\(path)/checkpoint.h5")
    try Files.truncate("\(path)/checkpoint.h5", toSize: size - 1)
    let error = try #require(failure(path))
    guard case .damaged = error else { throw error }
    #expect("\(error)".contains("checkpoint.h5 has \(size - 1) bytes instead of \(size)"))
  }

  @Test func missingDataIsDamage() throws {
    let path = try saved.write(to: folder.path)
    try Files.remove("\(path)/checkpoint.h5")
    guard case .damaged = failure(path) else { throw failure(path) ?? .io(path: path, reason: "") }
  }

  @Test func missingManifestIsIncomplete() throws {
    let path = try saved.write(to: folder.path)
    try Files.remove("\(path)/manifest.json")
    let error = try #require(failure(path))
    guard case .incomplete = error else { throw error }
    #expect("\(error)".contains("no manifest.json"))
    guard case .incomplete = failure(folder.file("nowhere")) else {
      throw CheckpointError.io(path: folder.path, reason: "a missing folder was opened")
    }
  }

  /// No change of a byte of the manifest may crash, or change what is loaded without a word.
  @Test func anyChangeOfTheManifestIsHarmless() throws {
    let path = try saved.write(to: folder.path)
    let manifest = try Files.read("\(path)/manifest.json")
    for position in manifest.indices {
      var changed = manifest
      changed[position] ^= 0x10
      try Files.write(changed, to: "\(path)/manifest.json")
      let target = SmallState(filledFrom: 2)
      if failure(path, into: target) == nil { #expect(target.bits == saved.bits, "\(position)") }
    }
  }

  /// A manifest that does not speak of the data checks nothing.
  @Test func manifestMustCoverTheData() throws {
    let path = try saved.write(to: folder.path)
    try Files.write(Array("other".utf8), to: "\(path)/other.bin")
    let manifest = Manifest(step: 12, entries: [try CheckpointWriter.entry("\(path)/other.bin")])
    try Files.write(Array(manifest.text.utf8), to: "\(path)/manifest.json")
    #expect(failure(path) != nil)
  }

  // MARK: Other programs and models

  @Test func newerDataFormatIsRefused() throws {
    let path = try saved.write(to: folder.path) { try $0.setAttribute("formatVersion", 2) }
    let error = try #require(failure(path))
    guard case .newerFormat(_, 2) = error else { throw error }
    #expect("\(error)".contains("use a newer cae-dist"))
  }

  /// What a newer program writes has the newer version in both files.
  @Test func newerManifestIsNotCalledDamaged() throws {
    let path = try saved.write(to: folder.path)
    let text = try Files.readText("\(path)/manifest.json")
    let newer = text.split(separator: "\"formatVersion\": 1").joined(
      separator: "\"formatVersion\": 2")
    #expect(newer != text)
    try Files.write(Array(newer.utf8), to: "\(path)/manifest.json")
    let error = try #require(failure(path))
    guard case .newerFormat(_, 2) = error else { throw error }
  }

  /// What the reader says about a model with other parameters, and a word that must be in it.
  @Test(
    arguments: [
      (["encoder.weight", "encoder.bias", "mask_token"], [3, 5], "head"),
      (
        ["encoder.weight", "encoder.bias", "mask_token", "head", "tail"], [3, 5], "parameters/tail"
      ),
      (
        ["encoder.weight", "encoder.bias", "mask_token", "head"], [5, 3], "encoder.weight is [3, 5]"
      ),
      (["encoder.weight", "encoder.bias", "mask_token", "head"], [15], "encoder.weight is [3, 5]"),
    ] as [([String], [Int], String)])
  func otherModelIsNamed(names: [String], first: [Int], word: String) throws {
    let path = try saved.write(to: folder.path)
    let shapes = Dictionary(uniqueKeysWithValues: SmallState.standard)
    let other = SmallState(
      filledFrom: 2,
      names.map { ($0, $0 == "encoder.weight" ? Shape(first) : shapes[$0] ?? [2]) })
    let error = try #require(failure(path, into: other))
    guard case .mismatch = error else { throw error }
    #expect("\(error)".contains(word))
  }

  @Test func missingBufferIsNamed() throws {
    let path = try saved.write(to: folder.path)
    let small = SmallState(filledFrom: 2).state
    let more = TrainingState(
      tree: small.tree, parameters: small.parameters, firstMoments: small.firstMoments,
      secondMoments: small.secondMoments,
      buffers: [NamedBuffer(name: "momentum", tensor: Tensor(repeating: 0, shape: [1]))])
    let error = #expect(throws: CheckpointError.self) {
      try CheckpointReader(path: path).load(into: more)
    }
    #expect("\(error, default: "")".contains("it has no buffers/momentum"))
  }

  // MARK: Folders

  @Test func writesAgainOverTheSameStep() throws {
    _ = try SmallState(filledFrom: 3).write(to: folder.path)
    let path = try saved.write(to: folder.path)
    let other = SmallState(filledFrom: 2)
    try CheckpointReader(path: path).load(into: other.state)
    #expect(other.bits == saved.bits)
    #expect(TemporaryFolder.names(in: folder.path) == ["step-00000012"])
  }

  @Test func candidatesAreNewestFirst() throws {
    for step in [2, 100_000_000, 30] { _ = try saved.write(to: folder.path, step: step) }
    for name in ["step-last", "other", ".writing-step-00000050", "step-"] {
      try Files.makeDirectory(folder.file(name))
    }
    let names = ["step-100000000", "step-00000030", "step-00000002"]
    #expect(CheckpointReader.candidates(in: folder.path) == names.map(folder.file))
    CheckpointReader.prune(keepLast: 2, in: folder.path)
    #expect(CheckpointReader.candidates(in: folder.path) == names.prefix(2).map(folder.file))
    CheckpointReader.removeLeftovers(in: folder.path)
    #expect(!Files.exists(folder.file(".writing-step-00000050")))
    #expect(Files.exists(folder.file("other")))
    #expect(CheckpointReader.candidates(in: folder.file("nowhere")).isEmpty)
  }

  @Test func unwritableFolderIsAnInputOutputError() throws {
    try folder.write("a file", to: "file")
    let error = #expect(throws: CheckpointError.self) {
      try saved.write(to: folder.file("file/runs"))
    }
    guard case .io(let path, _) = error else { throw try #require(error) }
    #expect(path == folder.file("file/runs/step-00000012"))
  }

  @Test(.enabled(if: SmallDisk.isPossible, "only root can mount a file system"))
  func fullDiskLeavesNothingBehind() throws {
    let disk = try SmallDisk(kibibytes: 256)
    let older = try saved.write(to: disk.path, step: 1)
    let large = SmallState(filledFrom: 4, [("large", [1 << 18])])
    let error = #expect(throws: CheckpointError.self) { try large.write(to: disk.path) }
    guard case .io = error else { throw try #require(error) }
    #expect(TemporaryFolder.names(in: disk.path) == ["step-00000001"])
    // What was there is still good, and there is room again for what fits.
    #expect(failure(older) == nil)
    #expect(failure(try saved.write(to: disk.path, step: 2)) == nil)
  }
}

/// A file system of a few kibibytes in memory, to run out of space on.
private final class SmallDisk {
  static let isPossible = (try? SmallDisk(kibibytes: 64)) != nil

  let path: String
  private let folder: TemporaryFolder

  init(kibibytes: Int) throws {
    folder = try TemporaryFolder("disk")
    path = folder.path
    try Self.run("mount", "-t", "tmpfs", "-o", "size=\(kibibytes)k", "tmpfs", path)
  }

  deinit { try? Self.run("umount", "--lazy", path) }

  private static func run(_ arguments: String...) throws {
    struct Failed: Error {}
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw Failed() }
  }
}
