import HDF5

/// The file format of data shards.
///
/// One HDF5 file holds
/// - `images`: UInt8 `[N, height, width, channels]`, in chunks of whole images of about 256 KiB,
///   each with a Fletcher-32 checksum that is verified whenever the chunk is read;
/// - `labels`: Int32 `[N]`, indices into the class names;
/// - attributes of the root: `formatVersion` (1), `classNames` (strings), `source` (where the
///   images come from), `checksum` ("fletcher32").
///
/// A data set is the shards of a folder in name order: `NAME-00000-of-00007.h5` and so on.
public enum ShardFormat {
  public static let version = 1

  static let images = "images"
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
