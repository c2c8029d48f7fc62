import Files
import HDF5

/// Elements of any length, byte sequences and strings, read around the HDF5 library, whose code for
/// them (1.10.8, H5HG) crashes or never returns where a file is damaged.
///
/// The dataset holds a reference an element: length, address of a collection of the file's global
/// heap, index of an object in it. Nothing in the file is believed: lengths, addresses and sizes are
/// checked against the file and the collection before they are used.
///
/// Source: HDF5 File Format Specification Version 3.0, section III.E, "Disk Format: Level 1E -
/// Global Heap", and IV.A.2.d, variable-length datatypes.
final class HeapReader {
  private let dataset: HDF5Dataset
  private let layout: ReferenceLayout
  private let file: RandomAccessFile
  /// What addresses count from.
  private let base: Int
  private var references: FileWindow
  private var chunk: (number: Int, bytes: [UInt8])?
  private var headers: FileWindow
  /// The last one: neighbours lie together.
  private var collection: HeapCollection?

  /// - Returns: Nil where only the library can read the references.
  /// - Throws: `ShardError`, also in that case if the file is not trusted.
  init?(_ dataset: HDF5Dataset, _ file: ShardFile) throws(ShardError) {
    guard let layout = try storing({ () throws(HDF5Error) in try dataset.referenceLayout }) else {
      guard !file.isTrusted else { return nil }
      throw .wrongType(
        path: file.path, dataset: dataset.path, found: "elements that only the library can read",
        expected: "plain references to them, as the file is damaged,")
    }
    self.dataset = dataset
    self.layout = layout
    self.file = try handling { () throws(FileError) in try RandomAccessFile(path: file.path) }
    base = try storing { () throws(HDF5Error) in try file.root.file.userBlock }
    references = FileWindow(self.file)
    headers = FileWindow(self.file)
  }

  /// Reads an element into a sample's memory.
  ///
  /// - Returns: How many bytes it has.
  func read(_ row: Int, into sample: StoredSample) throws(ShardError) -> Int {
    let place = try place(of: row)
    try file.read(place.lowerBound, of: row, path: file.path, into: sample.reserve(place.count))
    return place.count
  }

  /// An element as text, without the zero that may end it.
  func text(of row: Int) throws(ShardError) -> String {
    let place = try place(of: row)
    var bytes = [UInt8](repeating: 0, count: place.count)
    let count = try handling { () throws(FileError) in
      try bytes.withUnsafeMutableBufferPointer { (buffer) throws(FileError) in
        try file.read(at: place.lowerBound, into: UnsafeMutableRawBufferPointer(buffer))
      }
    }
    guard count == bytes.count else { throw damage(row, "the file ends before it does") }
    return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }

  /// Where an element lies in the file.
  private func place(of row: Int) throws(ShardError) -> Range<Int> {
    let reference = try reference(of: row)
    let (length, address) = (
      reference.unsigned(at: 0, bytes: 4), reference.unsigned(at: 4, bytes: 8)
    )
    let index = reference.unsigned(at: 12, bytes: 4)
    if address == 0 || address == .max {
      guard length == 0 else { throw damage(row, "it has \(length) bytes, but no address") }
      return 0..<0
    }
    guard address < UInt64(max(0, file.size - base)) else {
      throw damage(row, "its address \(address) is past the end of the file")
    }
    let start = base + Int(address)
    if collection?.start != start {
      collection = try handling { () throws(FileError) in
        try HeapCollection(at: start, in: &headers)
      }
    }
    guard let place = collection?.objects[index] else {
      throw damage(row, collection?.damage ?? "its collection has no object \(index)")
    }
    guard place.count == length else {
      throw damage(row, "it has \(place.count) bytes where \(length) are expected")
    }
    return place
  }

  private func reference(of row: Int) throws(ShardError) -> ArraySlice<UInt8> {
    guard row >= 0, row < dataset.shape[0] else {
      throw .damaged(
        path: file.path, row: row, key: "",
        reason: "\(dataset.path) has \(dataset.shape[0]) rows only")
    }
    let size = HDF5Dataset.referenceSize
    switch layout {
    case .contiguous(let offset):
      let found = try handling { () throws(FileError) in
        try references.bytes(at: offset, plus: row * size, count: size)
      }
      guard let found else { throw damage(row, "the file ends before its reference does") }
      return found
    case .chunks(let rows):
      let (number, place) = row.quotientAndRemainder(dividingBy: rows)
      if chunk?.number != number {
        let bytes = try reading(path: file.path, row: row) { () throws(HDF5Error) in
          try dataset.readReferences(ofChunk: number, limit: file.size)
        }
        chunk = (number, bytes)
      }
      guard let bytes = chunk?.bytes, !bytes.isEmpty else {
        return [UInt8](repeating: 0, count: size)[...]
      }
      return bytes[(place * size)..<((place + 1) * size)]
    }
  }

  private func damage(_ row: Int, _ reason: String) -> ShardError {
    .damaged(
      path: file.path, row: row, key: "",
      reason: "its entry in the file's heap is damaged: \(reason)")
  }
}

/// Texts of a dataset, one a row, of fixed or of any length.
struct TextReader {
  private let dataset: HDF5Dataset
  private let path: String
  private let heap: HeapReader?

  init(_ dataset: HDF5Dataset, _ file: ShardFile) throws(ShardError) {
    self.dataset = dataset
    path = file.path
    let isVariable = try storing { () throws(HDF5Error) in try dataset.holdsVariableText }
    heap = isVariable ? try HeapReader(dataset, file) : nil
  }

  /// The text of a row, or the first of it.
  func text(of row: Int) throws(ShardError) -> String {
    if let heap { return try heap.text(of: row) }
    return try reading(path: path, row: row) { () throws(HDF5Error) in
      let tail = dataset.shape.dropFirst()
      return try dataset.readStrings(
        start: [row] + tail.map { _ in 0 }, count: [1] + tail.map { _ in 1 })[0]
    }
  }
}
