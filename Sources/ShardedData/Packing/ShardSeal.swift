import Files

/// The user block of a shard: the hash of all that follows it in the file. With it a single bit that
/// flipped anywhere is found, be it in a place that no reader looks at.
enum ShardSeal {
  static let size = 512
  private static let magic = "cae-dist shard, xxh64 of what follows these 512 bytes: "

  /// Writes the hash of a finished file into its user block.
  static func seal(_ path: String) throws(ShardError) {
    try handling { () throws(FileError) in
      let hash = try Hash64.ofFile(path, from: size).hash
      try Files.overwrite(path, with: Array((magic + Hash64.hex(hash) + "\n").utf8), at: 0)
    }
  }

  /// The hash that a shard says it has; nil for one that says nothing.
  static func text(of path: String) throws(ShardError) -> String? {
    let length = magic.utf8.count + 16
    let block = try handling { () throws(FileError) in
      let file = try RandomAccessFile(path: path)
      var block = [UInt8](repeating: 0, count: length)
      let count = try block.withUnsafeMutableBufferPointer { (buffer) throws(FileError) in
        try file.read(at: 0, into: UnsafeMutableRawBufferPointer(buffer))
      }
      return Array(block[..<count])
    }
    guard block.count == length, block.starts(with: magic.utf8) else { return nil }
    return String(decoding: block.suffix(16), as: UTF8.self)
  }

  enum Verdict: Equatable {
    case intact
    case broken
    /// A file of others, or of an older version.
    case unsealed
  }

  static func verify(_ path: String) throws(ShardError) -> Verdict {
    try handling { () throws(FileError) in
      let file = try RandomAccessFile(path: path)
      let length = magic.utf8.count + 16
      var block = [UInt8](repeating: 0, count: size)
      let count = try block.withUnsafeMutableBufferPointer { (buffer) throws(FileError) in
        try file.read(at: 0, into: UnsafeMutableRawBufferPointer(buffer))
      }
      guard count == size, block.starts(with: magic.utf8) else { return .unsealed }
      let digits = String(decoding: block[(length - 16)..<length], as: UTF8.self)
      let isClean = block[(length + 1)...].allSatisfy { $0 == 0 } && block[length] == 10
      let hash = try Hash64.ofFile(path, from: size).hash
      return isClean && Hash64.hex(hash) == digits ? .intact : .broken
    }
  }
}
