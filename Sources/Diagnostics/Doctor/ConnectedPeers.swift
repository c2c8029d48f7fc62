import Files
import Foundation

/// TCP connections of this process as the kernel lists them: by which of its interfaces it talks to
/// which address.
enum ConnectedPeers {
  struct Connection: Hashable, Codable, Sendable {
    let local: String
    let remote: String
  }

  static var all: [Connection] {
    let own = sockets
    return ["/proc/self/net/tcp", "/proc/self/net/tcp6"].flatMap { path in
      parse((try? Files.readText(path)) ?? "", inodes: own)
    }
  }

  /// Established ones of the given sockets.
  ///
  /// - Parameter text: Columns: slot, local, remote, state ... inode as the tenth.
  static func parse(_ text: String, inodes: Set<String>) -> [Connection] {
    text.split(separator: "\n").dropFirst().compactMap { line in
      let words = line.split(separator: " ")
      guard words.count > 9, words[3] == "01", inodes.contains(String(words[9])),
        let local = address(words[1]), let remote = address(words[2])
      else { return nil }
      return Connection(local: local, remote: remote)
    }
  }

  /// `0100007F:0016` is 127.0.0.1: four bytes, the last one first, also at the end of a mapped IPv6 one.
  private static func address(_ text: Substring) -> String? {
    let digits = text.prefix { $0 != ":" }
    guard digits.count == 8 || digits.count == 32, let value = UInt32(digits.suffix(8), radix: 16)
    else { return nil }
    return (0..<4).map { String(value >> (8 * UInt32($0)) & 0xFF) }.joined(separator: ".")
  }

  private static var sockets: Set<String> {
    let names = (try? Files.list("/proc/self/fd")) ?? []
    return Set(
      names.compactMap { name in
        guard
          let target = try? FileManager.default.destinationOfSymbolicLink(
            atPath: "/proc/self/fd/\(name)"), target.hasPrefix("socket:[")
        else { return nil }
        return String(target.dropFirst("socket:[".count).dropLast())
      })
  }
}
