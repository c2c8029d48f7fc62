import Glibc

/// A file that is read in pieces, from any thread.
public final class RandomAccessFile: Sendable {
  public let path: String
  /// Bytes when it was opened.
  public let size: Int
  private let file: Descriptor

  public init(path: String) throws(FileError) {
    self.path = path
    let file = try Descriptor("open", path: path, flags: O_RDONLY)
    size = try file.status().size
    self.file = file
  }

  /// The bytes from `offset` on, as many as fit into `buffer`; fewer at the end of the file.
  ///
  /// - Returns: How many came.
  public func read(
    at offset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FileError) -> Int {
    var done = 0
    while done < buffer.count {
      let count = retrying {
        pread(file.number, buffer.baseAddress.map { $0 + done }, buffer.count - done, offset + done)
      }
      guard count >= 0 else { throw .last("read", path) }
      if count == 0 { break }
      done += count
    }
    return done
  }
}
