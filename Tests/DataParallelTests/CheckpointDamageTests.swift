import Files
import Foundation
import HDF5
import NN
import TensorCore
import TestSupport
import Testing

@testable import DataParallel

/// Checkpoints that are not what was written, and disks that do not take them.
@Suite struct CheckpointDamageTests {
  private let folder: TemporaryFolder
  private let saved = SavedRun(hosts: [0, 0])

  init() throws { folder = try TemporaryFolder("damage") }

  private func expectDamage(_ path: String, _ word: String, _ comment: Comment? = nil) {
    let error = saved.failure(path)
    #expect(error?.isDamage == true, comment)
    #expect("\(error, default: "")".contains(path), comment)
    #expect("\(error, default: "")".contains(word), comment)
  }

  /// Any one byte of any file, whoever reads it.
  @Test func everyFlippedByteIsFound() throws {
    let path = try saved.save(to: folder.path)
    var random = CounterRandom(seed: 5, stream: .synthetic)
    for name in TemporaryFolder.names(in: path) where name != "manifest.json" {
      let file = "\(path)/\(name)"
      let size = try Files.size(of: file)
      let places = [0, size - 1] + (0..<60).map { _ in Int(random.nextUInt32()) % size }
      for place in places {
        try TemporaryFolder.flipByte(of: file, at: place)
        expectDamage(path, "checksum of \(name) differs", "byte \(place) of \(name)")
        try TemporaryFolder.flipByte(of: file, at: place)
      }
    }
    #expect(saved.failure(path) == nil)
  }

  /// Any bit of the manifest.
  @Test func everyChangeOfTheManifestIsFound() throws {
    let path = try saved.save(to: folder.path)
    let manifest = try Files.read("\(path)/manifest.json")
    for position in manifest.indices {
      for bit in 0..<8 {
        var changed = manifest
        changed[position] ^= 1 << bit
        try Files.write(changed, to: "\(path)/manifest.json")
        var error: CheckpointError?
        do throws(CheckpointError) { _ = try CheckpointReader(path: path) } catch let found {
          error = found
        }
        #expect(error?.isDamage == true, "bit \(bit) of byte \(position)")
      }
    }
  }

  @Test(arguments: ["checkpoint.h5", "part-0001.h5"])
  func truncationNamesBothSizes(name: String) throws {
    let path = try saved.save(to: folder.path)
    let size = try Files.size(of: "\(path)/\(name)")
    try Files.truncate("\(path)/\(name)", toSize: size - 1)
    expectDamage(path, "\(name) has \(size - 1) bytes instead of \(size)")
  }

  @Test(arguments: ["checkpoint.h5", "part-0001.h5"])
  func missingFileIsDamage(name: String) throws {
    let path = try saved.save(to: folder.path)
    try Files.remove("\(path)/\(name)")
    expectDamage(path, "\(name) is missing")
  }

  /// A part of another checkpoint is whole, but not this one's.
  @Test func partOfAnotherStepIsDamage() throws {
    let path = try saved.save(to: folder.path)
    let other = try saved.save(to: folder.file("other"), step: 13)
    let name = "part-0001.h5"
    try Files.write(try Files.read("\(other)/\(name)"), to: "\(path)/\(name)")
    expectDamage(path, "checksum of \(name) differs")
  }

  @Test func missingManifestIsIncomplete() throws {
    let path = try saved.save(to: folder.path)
    try Files.remove("\(path)/manifest.json")
    expectDamage(path, "no manifest.json")
    guard case .incomplete = saved.failure(folder.file("nowhere")) else {
      throw CheckpointError.io(path: folder.path, reason: "a missing folder was opened")
    }
  }

  // MARK: Other formats

  @Test func otherFormatsAreNotCalledDamaged() throws {
    let path = try saved.save(to: folder.path)
    for (version, word) in [(3, "use a newer cae-dist"), (1, "run.initializeFrom=")] {
      let text = """
        { "formatVersion": \(version), "step": 12,
          "files": [ { "name": "checkpoint.h5", "size": 10, "xxh64": "00" } ] }
        """
      try Files.write(Array(text.utf8), to: "\(path)/manifest.json")
      let error = try #require(saved.failure(path))
      #expect(!error.isDamage)
      #expect("\(error)".contains("checkpoint format \(version)"))
      #expect("\(error)".contains(word))
    }
  }

  // MARK: Folders

  @Test func writesAgainOverADamagedStep() throws {
    _ = try saved.save(to: folder.path, seed: 3)
    let path = try saved.save(to: folder.path)
    #expect(try saved.load(path).state == saved.state(seed: 1))
    #expect(TemporaryFolder.names(in: folder.path) == ["step-00000012"])
  }

  @Test func namesAndOrder() throws {
    let checkpoints = CheckpointFolder(folder.path)
    for name in [
      "step-00000002", "step-100000000", "step-00000030", "step-last", "other", "step-",
      ".writing-step-00000050", ".removing-step-00000001",
    ] { try Files.makeDirectory(folder.file(name)) }
    #expect(checkpoints.steps == [100_000_000, 30, 2])
    #expect(checkpoints.newest == folder.file("step-100000000"))
    checkpoints.removeLeftovers()
    #expect(TemporaryFolder.names(in: folder.path).count == 6)
    #expect(CheckpointFolder(folder.file("nowhere")).steps == [])
  }

  @Test func retention() {
    let steps = [50, 40, 30, 20, 10]
    func left(_ last: Int, _ every: Int, _ damaged: Set<Int> = []) -> [Int] {
      let gone = CheckpointFolder.superfluous(
        steps, keepLast: last, keepEvery: every, damaged: damaged)
      return steps.filter { !gone.contains($0) }
    }
    #expect(left(2, 0) == [50, 40])
    #expect(left(0, 0) == [50])
    #expect(left(1, 20) == [50, 40, 20])
    #expect(left(9, 0) == steps)
    // What cannot be used does not count, or the only good ones would go.
    #expect(left(2, 0, [50, 40]) == [30, 20])
    #expect(left(1, 20, [40]) == [50, 20])
  }

  @Test func savingPrunes() throws {
    for step in [10, 20, 30] { try saved.save(to: folder.path, step: step) }
    try saved.save(to: folder.path, step: 40, keepLast: 2, damaged: [30])
    #expect(TemporaryFolder.names(in: folder.path) == ["step-00000020", "step-00000040"])
  }

  // MARK: Disks

  @Test(arguments: [WriteFault.noSpace, .inputOutput], [true, false])
  func failedWriteLeavesNothingBehind(fault: WriteFault, isAsynchronous: Bool) throws {
    var failing = SavedRun(hosts: [0, 0, 0])
    failing.isAsynchronous = isAsynchronous
    failing.fault = fault
    let older = try saved.save(to: folder.path, step: 1)
    let error = #expect(throws: CheckpointError.self) { try failing.save(to: folder.path) }
    #expect("\(error, default: "")".contains("step-00000012"))
    #expect("\(error, default: "")".contains(fault == .noSpace ? "No space" : "Input/output error"))
    #expect(TemporaryFolder.names(in: folder.path) == ["step-00000001"])
    #expect(saved.failure(older) == nil)
  }

  @Test func shortWriteIsContinued() throws {
    var short = SavedRun(hosts: [0, 0, 0])
    short.fault = .short
    let loaded = try saved.load(try short.save(to: folder.path))
    #expect(loaded.state == saved.state(seed: 1))
  }

  @Test func unwritableFolderIsAnInputOutputError() throws {
    try folder.write("a file", to: "file")
    let error = #expect(throws: CheckpointError.self) {
      try SavedRun().save(to: folder.file("file/runs"))
    }
    guard case .io(let path, _) = error else { throw try #require(error) }
    #expect(path == folder.file("file/runs/step-00000012"))
  }

  @Test(.enabled(if: SmallDisk.isPossible, "only root can mount a file system"))
  func fullDiskLeavesNothingBehind() throws {
    let disk = try SmallDisk(kibibytes: 1700)
    let older = try SavedRun().save(to: disk.path, step: 1)
    let error = #expect(throws: CheckpointError.self) { try SavedRun().save(to: disk.path) }
    guard case .io = error else { throw try #require(error) }
    #expect(TemporaryFolder.names(in: disk.path) == ["step-00000001"])
    // What was there is still good, and there is room again for what fits.
    #expect(saved.failure(older) == nil)
    var small = SavedRun()
    small.shapes = [("small", [9])]
    #expect(small.failure(try small.save(to: disk.path, step: 2)) == nil)
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
