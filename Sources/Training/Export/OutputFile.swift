import DataParallel
import Files
import Foundation

/// A file that has its name only when it is complete.
enum OutputFile {
  /// - Parameters:
  ///   - path: Must not exist yet; folders above it are made.
  ///   - body: Writes the file under the name that it gets.
  static func write(_ path: String, _ body: (String) throws -> Void) throws {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    try Files.makeDirectory(folder)
    let temporary = "\(path).tmp-\(getpid())"
    do {
      try body(temporary)
      try Files.synchronize(temporary)
      try Files.rename(temporary, to: path)
      try Files.synchronize(folder)
    } catch {
      try? Files.remove(temporary)
      throw error
    }
  }

  static func requireNew(_ path: String) throws(TrainingError) {
    guard !Files.exists(path) else {
      throw TrainingError.input(
        path: path, reason: "the file exists already; remove it, or name another --output")
    }
  }
}
