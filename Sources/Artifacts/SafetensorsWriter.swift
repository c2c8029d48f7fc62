import Files
public import TensorCore

/// Writes named tensors to a safetensors file that is complete or absent.
public enum SafetensorsWriter {
  /// F32, in the given order. The whole file is put together in memory.
  ///
  /// - Parameter metadata: Texts for the header's `__metadata__`.
  /// - Precondition: Names and metadata keys differ from each other.
  public static func write(
    to path: String, tensors: [(name: String, tensor: Tensor)],
    metadata: [(key: String, value: String)] = []
  ) throws(ArtifactError) {
    precondition(Set(tensors.map(\.name)).count == tensors.count, "two tensors have one name")
    var entries: [String] = []
    if !metadata.isEmpty {
      let texts = metadata.map { "\(quoted($0.key)):\(quoted($0.value))" }
      entries.append("\"__metadata__\":{\(texts.joined(separator: ","))}")
    }
    var end = 0
    for (name, tensor) in tensors {
      let start = end
      end += tensor.count * MemoryLayout<Float>.size
      let shape = tensor.shape.dimensions.map(String.init).joined(separator: ",")
      entries.append(
        "\(quoted(name)):{\"dtype\":\"F32\",\"shape\":[\(shape)],\"data_offsets\":[\(start),\(end)]}"
      )
    }
    var header = Array("{\(entries.joined(separator: ","))}".utf8)
    // Elements begin at a multiple of 8 bytes; spaces are allowed at the header's end.
    while header.count % 8 != 0 { header.append(UInt8(ascii: " ")) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(8 + header.count + end)
    for shift in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: header.count >> (8 * shift))) }
    bytes += header
    for (_, tensor) in tensors { append(tensor, to: &bytes) }
    do {
      try Files.writeAtomically(bytes, to: path)
    } catch {
      throw ArtifactError(path: path, reason: error.description)
    }
  }

  private static func append(_ tensor: Tensor, to bytes: inout [UInt8]) {
    withExtendedLifetime(tensor) {
      for index in 0..<tensor.count {
        withUnsafeBytes(of: tensor.pointer[index].bitPattern.littleEndian) {
          bytes.append(contentsOf: $0)
        }
      }
    }
  }

  /// A JSON text.
  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": result += "\\\(scalar)"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
