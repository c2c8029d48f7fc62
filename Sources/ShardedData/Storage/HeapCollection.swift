import Files

/// What a collection of an HDF5 file's global heap holds.
///
/// On disk: "GCOL", version 1, 3 bytes of nothing, size UInt64 of all of it; then objects: index
/// UInt16, number of references UInt16, 4 bytes of nothing, size UInt64, data padded to a multiple of
/// 8 bytes. The index 0 stands for free space, whose size counts its header. A rest that is too small
/// for a header is free, too.
struct HeapCollection {
  private static let headerSize = 16

  /// Where it begins in the file.
  let start: Int
  /// Where the data of the objects lie in the file; those before the damage, where there is some.
  private(set) var objects: [UInt64: Range<Int>] = [:]
  /// Why there may be objects that are not found.
  private(set) var damage: String?

  /// Reads the headers of all objects, not their data.
  init(at start: Int, in file: inout FileWindow) throws(FileError) {
    self.start = start
    guard let header = try file.bytes(at: start, plus: 0, count: Self.headerSize),
      header.prefix(5).elementsEqual([UInt8]("GCOL".utf8) + [1])
    else {
      damage = "there is no collection of version 1 at byte \(start)"
      return
    }
    guard let size = Int(exactly: header.unsigned(at: 8, bytes: 8)), size >= Self.headerSize,
      size <= file.size - start
    else {
      damage = "its collection at byte \(start) does not fit into the file"
      return
    }
    var (place, end) = (start + Self.headerSize, start + size)
    while damage == nil, end - place >= Self.headerSize {
      place = try addObject(at: place, end: end, in: &file)
    }
  }

  /// - Returns: Where the next object begins.
  private mutating func addObject(
    at place: Int, end: Int, in file: inout FileWindow
  ) throws(FileError) -> Int {
    guard let header = try file.bytes(at: place, plus: 0, count: Self.headerSize) else {
      damage = "the file ends in its collection"
      return end
    }
    let index = header.unsigned(at: 0, bytes: 2)
    let room = end - place - Self.headerSize
    guard let size = Int(exactly: header.unsigned(at: 8, bytes: 8)) else {
      damage = "an object at byte \(place) is larger than its collection"
      return end
    }
    if index == 0 {
      // Smaller than its own header, it would never end.
      if size < Self.headerSize || size > room + Self.headerSize {
        damage = "free space at byte \(place) has the size \(size)"
      }
      return damage == nil ? place + size : end
    }
    guard size <= room else {
      damage = "an object at byte \(place) is larger than its collection"
      return end
    }
    let data = place + Self.headerSize
    guard objects.updateValue(data..<(data + size), forKey: index) == nil else {
      damage = "its collection has two objects \(index)"
      return end
    }
    return min(end, data + (size + 7) / 8 * 8)
  }
}

/// Small pieces of a file, in one read where they lie close together.
struct FileWindow {
  private static let size = 4096
  private let file: RandomAccessFile
  private var start = 0
  private var held: [UInt8] = []

  init(_ file: RandomAccessFile) { self.file = file }

  /// Bytes of the file.
  var size: Int { file.size }

  /// - Precondition: Not more than the window holds, and no number is negative.
  /// - Returns: Nil where the file ends before.
  mutating func bytes(
    at offset: Int, plus distance: Int, count: Int
  ) throws(FileError) -> ArraySlice<UInt8>? {
    precondition(count <= Self.size && offset >= 0 && distance >= 0)
    // These differences cannot overflow, a sum could.
    guard offset <= file.size, distance <= file.size - offset,
      count <= file.size - offset - distance
    else { return nil }
    let place = offset + distance
    if place < start || place + count > start + held.count { try fill(from: place) }
    guard held.count >= place - start + count else { return nil }
    return held[(place - start)..<(place - start + count)]
  }

  private mutating func fill(from place: Int) throws(FileError) {
    var bytes = [UInt8](repeating: 0, count: min(Self.size, file.size - place))
    let count = try bytes.withUnsafeMutableBufferPointer { (buffer) throws(FileError) in
      try file.read(at: place, into: UnsafeMutableRawBufferPointer(buffer))
    }
    (start, held) = (place, Array(bytes.prefix(count)))
  }
}

extension ArraySlice<UInt8> {
  /// A little-endian number that begins `offset` bytes after the first.
  func unsigned(at offset: Int, bytes: Int) -> UInt64 {
    let first = startIndex + offset
    return self[first..<(first + bytes)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
