import ZlibCodec

/// A file in the IDX format of MNIST: unsigned bytes with one or more dimensions.
///
/// Big-endian: two zero bytes, the element type (8: unsigned byte), the number of dimensions, then
/// each dimension in four bytes, then the elements.
struct IDXFile {
  let dimensions: [Int]
  /// The whole file; elements start at `start`.
  let bytes: [UInt8]
  let start: Int

  /// - Parameter rank: How many dimensions the file has to have.
  init(path: String, rank: Int) throws(ShardError) {
    do throws(GzipError) {
      bytes = try GzipFile.read(path: path)
    } catch {
      throw .gzip(error)
    }
    start = 4 + 4 * rank
    guard bytes.count >= start else {
      throw .badSource(path: path, reason: "\(bytes.count) bytes are too few for an IDX file")
    }
    let magic = Array(bytes[0..<4])
    guard magic == [0, 0, 8, UInt8(rank)] else {
      throw .badSource(
        path: path,
        reason: "it starts with \(magic), not with [0, 0, 8, \(rank)], the signature of an IDX "
          + "file of bytes with \(rank) dimension(s)")
    }
    var dimensions: [Int] = []
    for index in 0..<rank {
      let field = bytes[(4 + 4 * index)..<(8 + 4 * index)]
      dimensions.append(field.reduce(0) { $0 << 8 | Int($1) })
    }
    self.dimensions = dimensions
    // Dimensions of 32 bits each can multiply to more than an Int holds.
    let count = dimensions.reduce(1.0) { $0 * Double($1) }
    guard count == Double(bytes.count - start) else {
      throw .badSource(
        path: path,
        reason: "its dimensions \(dimensions) do not match the \(bytes.count - start) bytes that "
          + "follow them")
    }
  }
}
