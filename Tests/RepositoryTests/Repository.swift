import Foundation

/// The files of this repository, as tests look at them.
enum Repository {
  static let root: String = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path

  /// What is not written by people, or not part of the repository.
  private static func isIgnored(_ name: String) -> Bool {
    name.hasPrefix(".build") || [".git", ".swiftpm", "runs", "__pycache__"].contains(name)
  }

  static func path(_ name: String) -> String { "\(root)/\(name)" }

  /// All files below a folder of the repository, by path from its root; none if there is no such.
  static func files(in folder: String = "") -> [String] {
    let place = folder.isEmpty ? root : path(folder)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: place)) ?? []
    return names.sorted().filter { !isIgnored($0) }.flatMap { name -> [String] in
      let inner = folder.isEmpty ? name : "\(folder)/\(name)"
      var isDirectory: ObjCBool = false
      let exists = FileManager.default.fileExists(atPath: path(inner), isDirectory: &isDirectory)
      if !exists { return [] }
      return isDirectory.boolValue ? files(in: inner) : [inner]
    }
  }

  static func swiftFiles(in folder: String) -> [String] {
    files(in: folder).filter { $0.hasSuffix(".swift") }
  }

  static func bytes(_ file: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: path(file)))
  }

  static func text(_ file: String) throws -> String {
    String(decoding: try bytes(file), as: UTF8.self)
  }

  static func lines(_ file: String) throws -> [Substring] {
    try text(file).split(separator: "\n", omittingEmptySubsequences: false)
  }

  /// Exit code and standard error of a program.
  static func run(_ arguments: [String]) throws -> (code: Int32, error: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    let pipe = Pipe()
    process.standardError = pipe
    try process.run()
    let error = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: error, as: UTF8.self))
  }
}
