import Files
public import TensorCore

/// Reads named tensors of a safetensors file: 8 bytes of header length, the header, the elements,
/// all little-endian. F32, F16, BF16 and F64 are read as floats.
///
/// The header is checked as a whole when the file is opened; a tensor takes memory only when it is
/// read. What a damaged or hostile file can take is bounded by its size.
///
/// - SeeAlso: github.com/huggingface/safetensors, section "Format".
public final class SafetensorsReader {
  public let path: String
  private let file: RandomAccessFile
  private let header: SafetensorsHeader
  private let dataStart: Int

  /// Headers of models of thousands of tensors have a few hundred KB.
  private static let longestHeader = 4 << 20
  /// Bytes that are converted at once; a multiple of every element's.
  private static let pieceSize = 1 << 20

  /// - Throws: Where the file is missing, or its header does not describe it.
  public init(path: String) throws(ArtifactError) {
    self.path = path
    do {
      file = try RandomAccessFile(path: path)
    } catch {
      throw ArtifactError(path: path, reason: error.description)
    }
    let start = [UInt8](try SafetensorsReader.bytes(of: file, at: 0, count: min(8, file.size)))
    let length = start.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard start.count == 8, length >= 2, length <= UInt64(file.size - 8) else {
      throw ArtifactError(path: path, reason: "it is neither an HDF5 nor a safetensors file")
    }
    guard length <= UInt64(SafetensorsReader.longestHeader) else {
      throw ArtifactError(
        path: path,
        reason: "its safetensors header of \(length) bytes is longer than "
          + "\(SafetensorsReader.longestHeader)")
    }
    dataStart = 8 + Int(length)
    let bytes = try SafetensorsReader.bytes(of: file, at: 8, count: Int(length))
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw ArtifactError(path: path, reason: "its safetensors header is not UTF-8")
    }
    do {
      header = try SafetensorsHeader(text, dataSize: file.size - dataStart)
    } catch {
      throw ArtifactError(path: path, reason: error.reason)
    }
  }

  /// Names of all tensors, sorted.
  public var names: [String] { header.entries.keys.sorted() }

  /// What the file says about itself.
  public var metadata: [String: String] { header.metadata }

  /// Extents of a tensor; nil where there is none of that name.
  public func shape(_ name: String) -> [Int]? { header.entries[name]?.shape }

  public func contains(_ name: String) -> Bool { header.entries[name] != nil }

  public func tensor(_ name: String) throws(ArtifactError) -> Tensor {
    guard let entry = header.entries[name] else {
      throw ArtifactError(path: path, reason: "it has no tensor \(name)")
    }
    guard let convert = converters[entry.elementType] else {
      throw ArtifactError(
        path: path,
        reason: "\(name) has elements of type \(entry.elementType), not F32, F16, BF16 or F64")
    }
    guard entry.shape.count <= Shape.maximumRank else {
      throw ArtifactError(path: path, reason: "\(name) has \(entry.shape.count) dimensions")
    }
    let tensor = Tensor(uninitialized: Shape(entry.shape))
    let elementSize = tensor.count == 0 ? 1 : entry.bytes.count / tensor.count
    for start in stride(from: 0, to: entry.bytes.count, by: SafetensorsReader.pieceSize) {
      let piece = try SafetensorsReader.bytes(
        of: file, at: dataStart + entry.bytes.lowerBound + start,
        count: min(SafetensorsReader.pieceSize, entry.bytes.count - start))
      piece.withUnsafeBytes {
        convert($0, tensor.pointer + start / elementSize)
      }
    }
    return tensor
  }

  private static func bytes(
    of file: RandomAccessFile, at offset: Int, count: Int
  ) throws(ArtifactError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let read: Int
    do throws(FileError) {
      read = try bytes.withUnsafeMutableBufferPointer { (buffer) throws(FileError) in
        try file.read(at: offset, into: UnsafeMutableRawBufferPointer(buffer))
      }
    } catch {
      throw ArtifactError(path: file.path, reason: error.description)
    }
    guard read == count else {
      throw ArtifactError(path: file.path, reason: "it has become shorter while it was read")
    }
    return bytes
  }
}

/// Elements of a piece as floats, by type.
private let converters:
  [String: @Sendable (UnsafeRawBufferPointer, UnsafeMutablePointer<Float>) -> Void] = [
    "F32": { source, target in
      for index in 0..<source.count / 4 {
        let bits = source.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)
        target[index] = Float(bitPattern: UInt32(littleEndian: bits))
      }
    },
    "F16": { source, target in
      for index in 0..<source.count / 2 {
        let bits = source.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
        target[index] = Float(Float16(bitPattern: UInt16(littleEndian: bits)))
      }
    },
    "BF16": { source, target in
      for index in 0..<source.count / 2 {
        let bits = source.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
        target[index] = Float(bitPattern: UInt32(UInt16(littleEndian: bits)) << 16)
      }
    },
    "F64": { source, target in
      for index in 0..<source.count / 8 {
        let bits = source.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)
        target[index] = Float(Double(bitPattern: UInt64(littleEndian: bits)))
      }
    },
  ]
