/// Names inside a checkpoint folder `step-NNNNNNNN/`.
///
///     checkpoint.h5    /parameters/NAME /moments/first/NAME /moments/second/NAME /buffers/NAME
///                      attributes formatVersion step samplesSeen configuration programVersion
///     manifest.json    size and XXH64 of every other file; written last
///
/// A folder without its manifest is no checkpoint.
enum CheckpointFormat {
  static let version = 1
  static let file = "checkpoint.h5"
  static let manifest = "manifest.json"
  static let temporaryPrefix = ".writing-"

  static func folderName(step: Int) -> String {
    let digits = String(step)
    return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  static func step(ofFolder name: String) -> Int? {
    guard name.hasPrefix("step-") else { return nil }
    return Int(name.dropFirst("step-".count))
  }
}

/// The list of a checkpoint's files with what their bytes must be.
struct Manifest: Equatable {
  struct Entry: Equatable {
    let name: String
    let size: Int
    let xxh64: String
  }

  let step: Int
  let entries: [Entry]

  /// One fixed spelling, so that no JSON library is needed at this level; it is read back strictly.
  var text: String {
    let files = entries.map {
      "    { \"name\": \"\($0.name)\", \"size\": \($0.size), \"xxh64\": \"\($0.xxh64)\" }"
    }
    return "{\n  \"formatVersion\": \(CheckpointFormat.version),\n  \"step\": \(step),\n"
      + "  \"files\": [\n\(files.joined(separator: ",\n"))\n  ]\n}\n"
  }

  init(step: Int, entries: [Entry]) {
    self.step = step
    self.entries = entries
  }

  /// The format that a manifest says it has, also where nothing else of it can be read.
  static func version(inText text: String) -> Int? {
    text.split(separator: "\n").compactMap { fields($0)["formatVersion"].flatMap { Int($0) } }.first
  }

  /// - Returns: nil where the text is not a manifest as `text` writes it, or the data is not in it.
  init?(text: String) {
    var version: Int?
    var step: Int?
    var entries: [Entry] = []
    for line in text.split(separator: "\n") {
      let fields = Manifest.fields(line)
      if let name = fields["name"] {
        guard let size = fields["size"].flatMap({ Int($0) }), let hash = fields["xxh64"] else {
          return nil
        }
        entries.append(Entry(name: name, size: size, xxh64: hash))
      }
      version = fields["formatVersion"].flatMap { Int($0) } ?? version
      step = fields["step"].flatMap { Int($0) } ?? step
    }
    guard version == CheckpointFormat.version, let step,
      entries.contains(where: { $0.name == CheckpointFormat.file })
    else { return nil }
    self.init(step: step, entries: entries)
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
