import Files
import TestSupport
import Testing

extension TinyRun {
  /// Trains to checkpoints of the steps 3, 6, 9 and 12, or of others.
  ///
  /// - Parameter ranks: nil: without mpirun.
  /// - Returns: The output folder.
  func train(_ name: String = "run", ranks: Int? = nil, set: [String] = []) throws -> String {
    let path = folder.file(name)
    let settings =
      [
        "parallelism.deterministic=true", "checkpoint.everySteps=3", "checkpoint.keepLast=4",
      ] + set
    let ended = try Program.run(
      ["pretrain", "--config", configuration, "--output", path]
        + settings.flatMap { ["--set", $0] }, ranks: ranks)
    try #require(ended.code == 0, "\(ended)")
    return path
  }

  /// Changes a value in the middle of a part.
  static func damageData(of checkpoint: String, part: String = "part-0000.h5") throws {
    let path = "\(checkpoint)/\(part)"
    let manifest = try Files.readText("\(checkpoint)/manifest.json")
    let line = try #require(manifest.split(separator: "\n").first { $0.contains(part) })
    let fields = line.split { !$0.isNumber }.compactMap { Int($0) }
    // Size, offset and size of the data stand after the digits of the name.
    let offset = try #require(fields.dropFirst(3).first)
    let count = try #require(fields.dropFirst(4).first)
    try TemporaryFolder.flipByte(of: path, at: offset + count / 2)
  }
}

/// `cae-dist checkpoint ...`
func checkpoint(_ arguments: String...) throws -> Ended {
  try Program.run(["checkpoint"] + arguments)
}

extension Ended {
  var lines: [Substring] { standardOutput.split(separator: "\n") }
}
