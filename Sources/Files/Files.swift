import Glibc
import Synchronization

/// Files and folders by path. Every failure is a `FileError`; nothing is retried or guessed.
public enum Files {
  // MARK: Whole files

  public static func read(_ path: String) throws(FileError) -> [UInt8] {
    try Descriptor("open", path: path, flags: O_RDONLY).readAll()
  }

  /// The file as UTF-8; invalid bytes become U+FFFD.
  public static func readText(_ path: String) throws(FileError) -> String {
    String(decoding: try read(path), as: UTF8.self)
  }

  /// Writes the file in place and waits until the disk has it.
  ///
  /// A crash in between leaves a part of the file; see `writeAtomically`.
  public static func write(_ bytes: [UInt8], to path: String) throws(FileError) {
    let file = try Descriptor("create", path: path, flags: O_WRONLY | O_CREAT | O_TRUNC)
    try file.write(bytes)
    try file.synchronize()
  }

  /// Writes the file so that it is there completely or not at all, even after a power failure.
  ///
  /// Temporary name in the same folder, fsync, rename, fsync of the folder. A failure removes the
  /// temporary file and leaves an older file of that name untouched.
  public static func writeAtomically(_ bytes: [UInt8], to path: String) throws(FileError) {
    let number = temporaryCounter.add(1, ordering: .relaxed).newValue
    let temporary = "\(path).tmp-\(getpid())-\(number)"
    do throws(FileError) {
      try write(bytes, to: temporary)
      try rename(temporary, to: path)
    } catch {
      unlink(temporary)
      throw error
    }
    try synchronize(parent(of: path))
  }

  // MARK: Questions

  /// True if the path can be looked at; false also where a folder above is not readable.
  public static func exists(_ path: String) -> Bool { (try? status(path)) != nil }

  public static func isDirectory(_ path: String) -> Bool {
    (try? status(path))?.isDirectory ?? false
  }

  /// Size in bytes.
  public static func size(of path: String) throws(FileError) -> Int { try status(path).size }

  /// The names in a folder, sorted, without `.` and `..`.
  ///
  /// - Parameter includingHidden: Also names that begin with a dot.
  public static func list(
    _ directory: String, includingHidden: Bool = false
  ) throws(FileError) -> [String] {
    guard let stream = opendir(directory) else { throw .last("list", directory) }
    defer { closedir(stream) }
    var names: [String] = []
    while true {
      // readdir tells its end and a failure apart by errno only.
      errno = 0
      guard let entry = readdir(stream) else { break }
      let name = nameOfEntry(entry)
      if name == "." || name == ".." || (!includingHidden && name.hasPrefix(".")) { continue }
      names.append(name)
    }
    guard errno == 0 else { throw .last("list", directory) }
    return names.sorted()
  }

  // MARK: Changes

  /// Makes a folder and those above it. An existing folder is fine.
  public static func makeDirectory(_ path: String) throws(FileError) {
    if isDirectory(path) { return }
    let above = parent(of: path)
    if above != path, !isDirectory(above) { try makeDirectory(above) }
    guard mkdir(path, 0o777) != 0 else { return }
    let failure = FileError.last("make folder", path)
    // Another rank may have been faster.
    guard failure.code == EEXIST, isDirectory(path) else { throw failure }
  }

  /// Renames a file or folder; an existing file of the new name is replaced.
  public static func rename(_ path: String, to newPath: String) throws(FileError) {
    guard Glibc.rename(path, newPath) == 0 else { throw .last("rename", "\(path) to \(newPath)") }
  }

  /// Removes a file, a link or an empty folder.
  public static func remove(_ path: String) throws(FileError) {
    guard Glibc.remove(path) == 0 else { throw .last("remove", path) }
  }

  /// Removes a file or a folder with all that is in it. Links are removed, not followed.
  public static func removeTree(_ path: String) throws(FileError) {
    var record = stat()
    guard lstat(path, &record) == 0 else { throw .last("remove", path) }
    if FileStatus(record).isDirectory {
      for name in try list(path, includingHidden: true) { try removeTree("\(path)/\(name)") }
    }
    try remove(path)
  }

  /// Waits until the disk has a file's bytes, or a folder's entries.
  public static func synchronize(_ path: String) throws(FileError) {
    try Descriptor("synchronize", path: path, flags: O_RDONLY).synchronize()
  }

  /// Replaces bytes in the middle of a file.
  public static func overwrite(
    _ path: String, with bytes: [UInt8], at offset: Int
  ) throws(FileError) {
    let file = try Descriptor("open", path: path, flags: O_WRONLY)
    try file.write(bytes, at: offset)
  }

  /// Cuts a file, or extends it by zeros.
  public static func truncate(_ path: String, toSize size: Int) throws(FileError) {
    try Descriptor("truncate", path: path, flags: O_WRONLY).truncate(toSize: size)
  }

  // MARK: Helpers

  private static let temporaryCounter = Atomic<Int>(0)

  private static func status(_ path: String) throws(FileError) -> FileStatus {
    var record = stat()
    guard stat(path, &record) == 0 else { throw .last("look at", path) }
    return FileStatus(record)
  }

  /// The folder that holds `path`: "." for a bare name, "/" for what is below the root.
  static func parent(of path: String) -> String {
    let trimmed = trimmingSlashes(path[...])
    guard let slash = trimmed.lastIndex(of: "/") else { return trimmed.isEmpty ? path : "." }
    let above = trimmingSlashes(trimmed[..<slash])
    return above.isEmpty ? "/" : String(above)
  }

  private static func trimmingSlashes(_ path: Substring) -> Substring {
    var path = path
    while path.last == "/" { path.removeLast() }
    return path
  }

  private static func nameOfEntry(_ entry: UnsafeMutablePointer<dirent>) -> String {
    let offset = MemoryLayout<dirent>.offset(of: \.d_name) ?? 0
    let name = UnsafeRawPointer(entry).advanced(by: offset)
    return String(cString: name.assumingMemoryBound(to: CChar.self))
  }
}
