/// - Throws: Where a sample claims more bytes than any image file has: a damaged file must not ask
///   for any amount of memory.
func requireSampleSize(_ count: Int, path: String, row: Int) throws(ShardError) {
  guard count > StoredSample.largest else { return }
  throw .damaged(
    path: path, row: row, key: "",
    reason: "it claims to have \(count) bytes, more than \(StoredSample.largest)")
}

/// A sample as it was read, with memory that is used again for the next one.
///
/// Read by one thread and handed to another, which checks and decodes it.
final class StoredSample: @unchecked Sendable {
  // Sendable: handed over through a queue, never shared.

  /// Bytes: more than any image has that can be decoded.
  static let largest = 512 << 20
  private(set) var shard = ""
  private(set) var row = 0
  private(set) var label: Int32 = 0
  /// Names the image wherever its shard lies: the file that it was packed from, where that is
  /// known. Empty unless it was asked for.
  var key = ""
  private(set) var form = StoredForm.encoded
  private(set) var count = 0
  /// What `verify` compares with; nil: nothing to compare with, or checked by the library.
  private var checksum: UInt32?
  /// Page by page, which is how the system copies files fastest.
  private var memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 4096)

  deinit { memory.deallocate() }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[..<count]) }

  /// Names the sample in sentences.
  var place: String { "sample \(row) of \(shard)" + (key.isEmpty ? "" : " (\(key))") }

  /// Begins a new sample.
  func begin(shard: String, row: Int, label: Int32) {
    (self.shard, self.row, self.label) = (shard, row, label)
    key = ""
    checksum = nil
    count = 0
  }

  /// Memory for the sample's bytes; earlier ones are gone.
  func reserve(_ count: Int) -> UnsafeMutableRawBufferPointer {
    if count > memory.count {
      memory.deallocate()
      memory = .allocate(byteCount: count, alignment: 4096)
    }
    return UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
  }

  /// Says what the memory holds now.
  func finish(_ form: StoredForm, count: Int, checksum: UInt32? = nil) {
    (self.form, self.count, self.checksum) = (form, count, checksum)
  }

  /// - Throws: `ShardError.damaged` where the bytes are not those that were written.
  func verify() throws(ShardError) {
    guard let checksum, Fletcher32.checksum(bytes) != checksum else { return }
    throw .damaged(path: shard, row: row, key: key, reason: "its checksum is wrong")
  }
}
