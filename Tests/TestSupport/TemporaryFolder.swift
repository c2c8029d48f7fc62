import Foundation

/// A folder of its own for one test, removed with all it holds when nobody needs it any more.
public final class TemporaryFolder: Sendable {
  public let path: String

  public init(_ name: String = "test") throws {
    path = NSTemporaryDirectory() + "cae-dist-\(name)-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of a file or folder in it.
  public func file(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a text and returns its path.
  @discardableResult
  public func write(_ text: String, to name: String) throws -> String {
    try Data(text.utf8).write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }

  /// Changes one byte of a file: damage that its size does not show.
  public static func flipByte(of path: String, at position: Int) throws {
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    bytes[position] ^= 0x10
    try bytes.write(to: URL(fileURLWithPath: path))
  }

  /// The names in a folder, hidden ones too, sorted; none where there is no such folder.
  public static func names(in path: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
  }
}
