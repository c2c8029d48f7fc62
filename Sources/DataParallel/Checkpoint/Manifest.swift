import Files

/// The list of a checkpoint's files with what their bytes must be, and a checksum of its own.
struct Manifest: Equatable {
  struct Entry: Equatable {
    let name: String
    let size: Int
    /// Where the data is that has checksums block by block; empty: there is none.
    let data: Range<Int>
    /// XXH64 of all other bytes, 16 digits.
    let xxh64: String
  }

  /// Why a text is no manifest.
  enum Failure: Error {
    case damaged
    case other(version: Int)
  }

  let step: Int
  /// The logical file, then the parts in the order of ranks.
  let entries: [Entry]

  init(step: Int, entries: [Entry]) {
    self.step = step
    self.entries = entries
  }

  /// One fixed spelling, so that no JSON library is needed at this level; it is read back strictly.
  var text: String {
    let files = entries.map {
      "    { \"name\": \"\($0.name)\", \"size\": \($0.size), \"dataOffset\": \($0.data.lowerBound), "
        + "\"dataSize\": \($0.data.count), \"xxh64\": \"\($0.xxh64)\" }"
    }
    let body =
      "{\n  \"formatVersion\": \(CheckpointFormat.version),\n  \"step\": \(step),\n"
      + "  \"files\": [\n\(files.joined(separator: ",\n"))\n  ],\n"
    return body + Manifest.ending(of: body)
  }

  /// The last line: a checksum of what is before it.
  private static func ending(of body: String) -> String {
    var hash = Hash64()
    hash.update(body)
    return "  \"checksum\": \"\(Hash64.hex(hash.finalize()))\"\n}\n"
  }

  init(text: String) throws(Failure) {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    var (version, step): (Int?, Int?)
    var entries: [Entry] = []
    for line in lines {
      let fields = Manifest.fields(line)
      version = version ?? fields["formatVersion"].flatMap { Int($0) }
      step = step ?? fields["step"].flatMap { Int($0) }
      if let entry = Manifest.entry(fields) { entries.append(entry) }
    }
    self.init(step: step ?? -1, entries: entries)
    guard self.text == text, entries.first?.name == CheckpointFormat.file else {
      // Another format's checksum is another, too: where the version alone differs, it was hit.
      let ours = self.text.split(separator: "\n", omittingEmptySubsequences: false)
      let different = zip(ours, lines).count { $0 != $1 }
      guard let version, version != CheckpointFormat.version, different > 1 else {
        throw .damaged
      }
      throw .other(version: version)
    }
  }

  private static func entry(_ fields: [String: String]) -> Entry? {
    guard let name = fields["name"], let size = fields["size"].flatMap({ Int($0) }),
      let offset = fields["dataOffset"].flatMap({ Int($0) }),
      let count = fields["dataSize"].flatMap({ Int($0) }), let hash = fields["xxh64"],
      offset >= 0, count >= 0, offset <= size, count <= size - offset
    else { return nil }
    return Entry(name: name, size: size, data: offset..<offset + count, xxh64: hash)
  }

  /// `"key": value` pairs of one line.
  private static func fields(_ line: Substring) -> [String: String] {
    let quotes: Set<Character> = ["\"", " ", "{", "}"]
    var fields: [String: String] = [:]
    for pair in line.split(separator: ",") {
      let parts = pair.split(separator: ":", maxSplits: 1)
      guard parts.count == 2 else { continue }
      let clean = parts.map { String($0.filter { !quotes.contains($0) }) }
      fields[clean[0]] = clean[1]
    }
    return fields
  }
}
