import Files
import Glibc
import HDF5

/// Reads one shard of any known layout. The file is opened at the first use, without a file lock,
/// and stays open.
///
/// Not for use from two threads at once.
public final class ShardReader {
  public let path: String
  private let retries: RetryPolicy
  private let isTrusted: Bool
  /// What the file was when a run began.
  private let expected: ShardHeader?
  private var opened: (any ShardStorage)?

  /// - Parameter retries: What to do when the system fails to read.
  public convenience init(path: String, retries: RetryPolicy = .none) {
    self.init(path: path, retries: retries, isTrusted: true)
  }

  /// A reader of a shard that was looked at before.
  ///
  /// - Throws: Later, where the file is another one by then.
  convenience init(_ header: ShardHeader, retries: RetryPolicy) {
    self.init(path: header.path, retries: retries, isTrusted: true, expected: header)
  }

  /// - Parameter isTrusted: As of `ShardFile`; a file that is not has no class names.
  init(
    path: String, retries: RetryPolicy = .none, isTrusted: Bool, expected: ShardHeader? = nil
  ) {
    self.expected = expected
    self.path = path
    self.retries = retries
    self.isTrusted = isTrusted
  }

  /// - Throws: `ShardError` when there is no such file or its layout is not known.
  public func header() throws(ShardError) -> ShardHeader {
    try retrying { (storage) throws(ShardError) in storage.header }
  }

  /// The name that the image of a row was packed under, or that stands for it.
  public func key(of row: Int) throws(ShardError) -> String {
    try retrying { (storage) throws(ShardError) in try storage.key(of: row) }
  }

  /// The class of a row; -1 for none.
  func label(of row: Int) throws(ShardError) -> Int32 {
    try retrying { (storage) throws(ShardError) in try storage.label(of: row) }
  }

  /// Reads a sample as it is stored, without checking or decoding it.
  func read(_ row: Int, into sample: StoredSample) throws(ShardError) {
    try retrying { (storage) throws(ShardError) in try storage.read(row, into: sample) }
  }

  /// Closes the file; the next use opens it again.
  func close() { opened = nil }

  private func retrying<Result>(
    _ body: (any ShardStorage) throws(ShardError) -> Result
  ) throws(ShardError) -> Result {
    var attempt = 0
    while true {
      do throws(ShardError) {
        return try body(try storage())
      } catch {
        guard error.isTransient, attempt < retries.delays.count else {
          if attempt == 0 { throw error }
          throw .unreachable(path: path, attempts: attempt + 1, reason: error.description)
        }
        // A file system that was away may have left the open file useless.
        close()
        usleep(UInt32(retries.delays[attempt] * 1e6))
        attempt += 1
      }
    }
  }

  private func storage() throws(ShardError) -> any ShardStorage {
    if let opened { return opened }
    guard Files.exists(path) else { throw .missing(path: path) }
    let storage = try ShardReader.recognize(try ShardFile(path: path, isTrusted: isTrusted))
    if let expected, storage.header != expected { throw .changed(path: path) }
    opened = storage
    return storage
  }

  private static func recognize(_ file: ShardFile) throws(ShardError) -> any ShardStorage {
    func has(_ name: String) throws(ShardError) -> Bool {
      try storing { () throws(HDF5Error) in try file.root.exists(name) }
    }
    if try has(ShardFormat.images) { return try RawStorage(file) }
    if try has(ShardFormat.bytes) { return try EncodedStorage(file) }
    if try has("imgs") { return try BigGANStorage(file) }
    if try has("encoded_images") { return try FuelStorage(file) }
    if try storing({ () throws(HDF5Error) in try ClassGroupStorage.describes(file) }) {
      return try ClassGroupStorage(file)
    }
    let members = try storing { () throws(HDF5Error) in try file.root.memberNames() }
    throw .unknownLayout(path: file.path, members: members)
  }
}

/// How often, and after which pauses, a read that the system refused is tried again.
public struct RetryPolicy: Equatable, Sendable {
  /// Seconds before the second try, the third one, and so on.
  public var delays: [Double]

  public init(delays: [Double]) { self.delays = delays }

  public static let none = RetryPolicy(delays: [])
  /// What a network file system needs that fails over, in a run that costs more than waiting.
  public static let patient = RetryPolicy(delays: [0.2, 1, 3])
}
