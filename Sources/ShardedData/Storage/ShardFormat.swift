import HDF5

/// The two file formats of our own data shards.
///
/// Both have
/// - `labels`: Int32 `[N]`, indices into the class names;
/// - `keys`: strings `[N]`, what each image was packed from;
/// - attributes of the root: `formatVersion` (1), `classNames` (strings), `source` (where the
///   images come from), `checksum` ("fletcher32"), `packing` (with which options);
/// - `skipped`: strings, images that could not be packed, and why; only where there are some;
/// - `checksums`: UInt32 `[N]`, Fletcher-32 of each image as it is stored;
/// - a user block of 512 bytes before the HDF5 file proper with the XXH64 of all that follows it.
///
/// Raw shards have
/// - `images`: UInt8 `[N, height, width, channels]`, in chunks of whole images of about 256 KiB that
///   lie one behind the other.
///
/// Encoded shards have
/// - `bytes`: UInt8, JPEG and PNG files one after the other, stored in one piece;
/// - `offsets`: Int64 `[N + 1]`, where each file begins, and at the end where the last one ends.
///
/// A data set is the shards of a folder in name order: `NAME-00000-of-00007.h5` and so on.
public enum ShardFormat {
  public static let version = 1

  static let images = "images"
  static let bytes = "bytes"
  static let offsets = "offsets"
  static let checksums = "checksums"
  static let keys = "keys"
  static let packing = "packing"
  static let skipped = "skipped"
  static let labels = "labels"
  static let formatVersion = "formatVersion"
  static let classNames = "classNames"
  static let source = "source"
  static let checksum = "checksum"
  static let checksumName = "fletcher32"
  static let fileExtension = ".h5"

  /// A shuffled reader takes a whole chunk for each image, and the library keeps 1 MiB of chunks.
  private static let chunkBytes = 256 << 10

  /// Images in a chunk.
  static func chunkRows(imageShape: ImageShape, count: Int) -> Int {
    min(count, max(1, chunkBytes / imageShape.byteCount))
  }

  static func fileName(name: String, number: Int, total: Int) -> String {
    "\(name)-\(padded(number))-of-\(padded(total))\(fileExtension)"
  }

  /// Where a shard is written before it is complete: hidden, so that no reader takes it.
  static func temporaryPath(folder: String, fileName: String) -> String {
    "\(folder)/.\(fileName).partial"
  }

  /// How many files the set of a shard has by its name, and the name of that set; nil for a file
  /// that is not named as a part of a set.
  static func set(ofFileName fileName: String) -> (name: String, total: Int)? {
    guard fileName.hasSuffix(fileExtension) else { return nil }
    let parts = fileName.dropLast(fileExtension.count).split(
      separator: "-", omittingEmptySubsequences: false)
    guard parts.count >= 4, parts[parts.count - 2] == "of", Int(parts[parts.count - 3]) != nil,
      let total = Int(parts[parts.count - 1])
    else { return nil }
    return (parts.dropLast(3).joined(separator: "-"), total)
  }

  private static func padded(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
  }
}

/// Runs calls on HDF5 and turns their errors into this module's.
func storing<Result>(
  _ body: () throws(HDF5Error) -> Result
) throws(ShardError) -> Result {
  do throws(HDF5Error) {
    return try body()
  } catch {
    throw .storage(error)
  }
}
