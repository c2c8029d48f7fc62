import Glibc

/// Owner of an open file descriptor. Closing reports nothing: whoever needs the bytes on the disk
/// calls `synchronize`, which does.
struct Descriptor: ~Copyable {
  let number: Int32
  let path: String

  /// - Parameter flags: As for open(2). Close-on-exec is added, or a child process would keep
  ///   locks alive.
  init(_ operation: String, path: String, flags: Int32) throws(FileError) {
    let number = retrying { open(path, flags | O_CLOEXEC, 0o666) }
    guard number >= 0 else { throw .last(operation, path) }
    self.number = number
    self.path = path
  }

  deinit { close(number) }

  func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    var rest = bytes
    while !rest.isEmpty {
      let written = retrying { Glibc.write(number, rest.baseAddress, rest.count) }
      guard written >= 0 else { throw .last("write", path) }
      rest = UnsafeRawBufferPointer(rebasing: rest[written...])
    }
  }

  func write(_ bytes: [UInt8]) throws(FileError) {
    try bytes.withUnsafeBufferPointer { (buffer) throws(FileError) in
      try write(UnsafeRawBufferPointer(buffer))
    }
  }

  /// Writes at a place of the file.
  func write(_ bytes: [UInt8], at offset: Int) throws(FileError) {
    guard retrying({ lseek(number, offset, SEEK_SET) }) >= 0 else { throw .last("write", path) }
    try write(bytes)
  }

  func readAll() throws(FileError) -> [UInt8] {
    var bytes: [UInt8] = []
    // The size is a hint: files in /proc say 0, and a file may grow while it is read.
    bytes.reserveCapacity(try status().size + 1)
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = try read(into: &chunk)
      if count == 0 { return bytes }
      bytes.append(contentsOf: chunk[..<count])
    }
  }

  /// The next bytes, as many as fit and are there; 0 at the end.
  func read(into chunk: inout [UInt8]) throws(FileError) -> Int {
    let count = retrying { Glibc.read(number, &chunk, chunk.count) }
    guard count >= 0 else { throw .last("read", path) }
    return count
  }

  func status() throws(FileError) -> FileStatus {
    var record = stat()
    guard fstat(number, &record) == 0 else { throw .last("look at", path) }
    return FileStatus(record)
  }

  func truncate(toSize size: Int) throws(FileError) {
    guard retrying({ ftruncate(number, size) }) == 0 else { throw .last("truncate", path) }
  }

  func synchronize() throws(FileError) {
    guard retrying({ fsync(number) }) == 0 else { throw .last("synchronize", path) }
  }
}

/// The few facts of stat(2) that are asked for here.
struct FileStatus {
  let size: Int
  let isDirectory: Bool

  init(_ record: stat) {
    size = Int(record.st_size)
    isDirectory = record.st_mode & S_IFMT == S_IFDIR
  }
}

/// Repeats a call that a signal (as used for preemption) interrupted.
func retrying<Value: SignedInteger>(_ call: () -> Value) -> Value {
  while true {
    let value = call()
    if value >= 0 || errno != EINTR { return value }
  }
}
