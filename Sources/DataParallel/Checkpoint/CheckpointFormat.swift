import HDF5

/// Names inside a checkpoint folder `step-NNNNNNNN/`.
///
///     checkpoint.h5    the logical file: parameters, moments and buffers as virtual datasets
///     part-NNNN.h5     what one rank has written: `values`, and `checksums` of their blocks
///     manifest.json    size and checksum of every other file; written last
///
/// A folder without its manifest is no checkpoint.
public enum CheckpointFormat {
  static let version = 2
  public static let file = "checkpoint.h5"
  public static let manifest = "manifest.json"
  /// Of folders beside checkpoints: being written, being removed.
  static let writingPrefix = ".writing-"
  static let removingPrefix = ".removing-"
  /// Bytes of a part's data that have one checksum: what is read is read in whole blocks.
  static let blockBytes = 1 << 16

  /// Of the HDF5 library that writes it.
  public static var libraryVersion: String { HDF5Version.text }

  static func partName(_ rank: Int) -> String { "part-\(padded(rank, 4)).h5" }

  public static func folderName(step: Int) -> String { "step-\(padded(step, 8))" }

  /// The step of a checkpoint folder; nil of any other name, such as one that somebody wrote by hand.
  public static func step(ofFolder name: String) -> Int? {
    guard name.hasPrefix("step-"), let step = Int(name.dropFirst("step-".count)),
      name == folderName(step: step)
    else { return nil }
    return step
  }

  private static func padded(_ number: Int, _ width: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}
