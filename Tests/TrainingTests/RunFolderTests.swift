import Files
import Foundation
import Interfaces
import TestSupport
import Testing

@testable import Training

@Suite struct RunFolderTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder("run-folder") }

  @Test func secondRunInAFolderIsRefused() throws {
    let path = folder.file("run")
    var first: RunFolder? = try RunFolder(path: path, rank: 0)
    // The second attempt must read the same as the first: asking changes nothing.
    for _ in 0..<2 {
      let error = #expect(throws: FileLockError.self) { try RunFolder(path: path, rank: 0) }
      let text = "\(error, default: "")"
      #expect(text.hasPrefix("\(path)/run.lock is held by "))
      #expect(text.contains("process \(ProcessInfo.processInfo.processIdentifier); wait for that"))
      #expect(error.map { ExitCode(for: $0) } == .badInput)
    }
    // The other ranks of a run do not lock.
    #expect(throws: Never.self) { try RunFolder(path: path, rank: 1) }
    #expect(first?.path == path)
    first = nil
    // A process that another test starts holds a copy of the lock until it is what it will be.
    for _ in 0..<100 where (try? RunFolder(path: path, rank: 0)) == nil { usleep(10_000) }
    #expect(throws: Never.self) { try RunFolder(path: path, rank: 0) }
  }

  @Test func leftoversOfAKilledWriteGo() throws {
    let left = folder.file("run/.writing-step-00000003")
    try Files.makeDirectory(left)
    try Files.write([1, 2, 3], to: "\(left)/checkpoint.h5")
    _ = try RunFolder(path: folder.file("run"), rank: 0)
    #expect(!Files.exists(left))
  }

  @Test func folderThatCannotBeMadeIsAnError() throws {
    try folder.write("a file", to: "file")
    let error = #expect(throws: FileError.self) {
      try RunFolder(path: folder.file("file/run"), rank: 0)
    }
    #expect("\(error, default: "")".contains(folder.file("file")))
  }

  // MARK: Records

  @Test(arguments: [
    0.1, 1.0 / 3, 1e-300, Double.leastNonzeroMagnitude, 1.7976931348623157e308,
    123_456_789.123_456_79, 1e15, 1e16,
    -2.5, 0, 3, -7, 0.30000000000000004, 1e22, -0.0,
  ])
  func numbersReadBackToTheSameBits(value: Double) throws {
    var record = StepRecord(step: 3)
    record.set("loss", value)
    let read = try JSONDecoder().decode([String: Double].self, from: Data(record.json.utf8))
    #expect(read["loss"]?.bitPattern == value.bitPattern, "\(record.json)")
  }

  @Test func recordIsOneObjectInOrder() throws {
    var record = StepRecord(step: 12)
    record.set("epoch", 0.5)
    record.set("loss", 2)
    record.set("norm", .nan)
    record.set("rate", .infinity)
    #expect(record.json == #"{"step":12,"epoch":0.5,"loss":2,"norm":null,"rate":null}"#)
    #expect(record["loss"] == 2)
    #expect(record["other"] == nil)
  }

  @Test func linesAfterAStepAreCut() throws {
    let lines = (1...10).map { "{\"step\":\($0),\"loss\":\($0).5}\n" }
    let path = try folder.write(lines.joined() + "{\"step\":11,\"lo", to: "metrics.jsonl")
    let metrics = try MetricsFile(path: path, keepingThrough: 9)
    var record = StepRecord(step: 10)
    record.set("loss", 1)
    try metrics.append(record)
    #expect(
      try Files.readText(path) == lines[..<9].joined() + "{\"step\":10,\"loss\":1}\n")
  }

  @Test func noMetricsYet() throws {
    let path = folder.file("metrics.jsonl")
    try MetricsFile(path: path, keepingThrough: 0).append(StepRecord(step: 1))
    #expect(try Files.readText(path) == "{\"step\":1}\n")
  }

  // MARK: Exit codes

  @Test func exitCodesOfErrors() {
    #expect(ExitCode(for: ConfigurationError("a", "b")) == .badInput)
    #expect(ExitCode(for: CollectiveError(operation: "a", reason: "b")) == .rankLost)
    #expect(ExitCode(for: FileError(operation: "open", path: "x", code: ENOENT)) == .badInput)
    #expect(ExitCode(for: FileError(operation: "write", path: "x", code: ENOSPC)) == .inputOutput)
    #expect(ExitCode(for: TrainingError.nonFinite(quantity: "a", step: 1, rank: nil)) == .failed)
    #expect(ExitCode(for: TrainingError.input(path: "a", reason: "b")) == .badInput)
    #expect(ExitCode(for: CancellationError()) == .internalError)
  }
}
