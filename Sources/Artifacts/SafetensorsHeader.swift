import Yams

/// The table of contents of a safetensors file: a JSON object of names, each with an element type,
/// a shape, and where its bytes are.
struct SafetensorsHeader {
  /// One tensor.
  struct Entry {
    let elementType: String
    let shape: [Int]
    /// Bytes, counted from the end of the header.
    let bytes: Range<Int>
  }

  let entries: [String: Entry]
  /// The texts of `__metadata__`.
  let metadata: [String: String]

  private static func hasReferences(_ text: String) -> Bool {
    var (isInString, isEscaped) = (false, false)
    for byte in text.utf8 {
      if isInString {
        if isEscaped {
          isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
          isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
          isInString = false
        }
      } else if byte == UInt8(ascii: "\"") {
        isInString = true
      } else if byte == UInt8(ascii: "&") || byte == UInt8(ascii: "*") {
        return true
      }
    }
    return false
  }

  /// Bytes of an element of each type that the format has.
  private static let elementSizes = [
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "U16": 2, "I16": 2, "F16": 2,
    "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
  ]

  /// - Parameter dataSize: Bytes of the file after the header: the tensors must fill them, without
  ///   holes and without overlaps.
  /// - Throws: The sentence about what is wrong.
  init(_ text: String, dataSize: Int) throws(SafetensorsFault) {
    guard text.utf8.first == UInt8(ascii: "{"),
      // JSON is YAML, but YAML's anchors and aliases could stand for any amount of text.
      !SafetensorsHeader.hasReferences(text),
      let mapping = (try? Yams.compose(yaml: text))?.mapping
    else { throw SafetensorsFault("its header is not a JSON object") }
    var entries: [String: Entry] = [:]
    var metadata: [String: String] = [:]
    for (key, value) in mapping {
      guard let name = key.scalar?.string else {
        throw SafetensorsFault("its header has a key that is no text")
      }
      if name == "__metadata__" {
        for (key, text) in value.mapping ?? [:] {
          if let key = key.scalar?.string, let text = text.scalar?.string { metadata[key] = text }
        }
        continue
      }
      entries[name] = try SafetensorsHeader.entry(name, value)
    }
    self.entries = entries
    self.metadata = metadata
    var end = 0
    for (name, entry) in entries.sorted(by: { ends($0.value) < ends($1.value) }) {
      guard entry.bytes.lowerBound == end else {
        throw SafetensorsFault("\(name) does not begin where the tensor before it ends")
      }
      end = entry.bytes.upperBound
    }
    guard end == dataSize else {
      throw SafetensorsFault(
        "its tensors take \(end) bytes, but \(dataSize) follow the header; it is truncated or "
          + "damaged")
    }
  }

  private static func entry(_ name: String, _ node: Node) throws(SafetensorsFault) -> Entry {
    guard let fields = node.mapping, let elementType = fields["dtype"]?.scalar?.string,
      let shape = integers(fields["shape"]), let offsets = integers(fields["data_offsets"]),
      offsets.count == 2, offsets[0] <= offsets[1]
    else { throw SafetensorsFault("the header's entry of \(name) is not understood") }
    guard let elementSize = elementSizes[elementType] else {
      throw SafetensorsFault("\(name) has elements of the unknown type \(elementType)")
    }
    var size = elementSize
    for extent in shape {
      let (product, overflows) = size.multipliedReportingOverflow(by: extent)
      guard !overflows else { throw SafetensorsFault("\(name) has an impossible shape") }
      size = product
    }
    guard size == offsets[1] - offsets[0] else {
      throw SafetensorsFault(
        "\(name) has \(offsets[1] - offsets[0]) bytes, but its shape takes \(size)")
    }
    return Entry(elementType: elementType, shape: shape, bytes: offsets[0]..<offsets[1])
  }

  /// A list of whole numbers in plain digits: YAML knows others, JSON does not.
  private static func integers(_ node: Node?) -> [Int]? {
    guard let list = node?.sequence else { return nil }
    var values: [Int] = []
    for item in list {
      guard let scalar = item.scalar, scalar.style == .plain,
        scalar.string.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
        let value = Int(scalar.string)
      else { return nil }
      values.append(value)
    }
    return values
  }
}

/// Order of the tensors in the file; empty ones come before what begins at the same place.
private func ends(_ entry: SafetensorsHeader.Entry) -> (Int, Int) {
  (entry.bytes.lowerBound, entry.bytes.upperBound)
}

/// What is wrong with a file, still without its name.
struct SafetensorsFault: Error {
  let reason: String

  init(_ reason: String) { self.reason = reason }
}
