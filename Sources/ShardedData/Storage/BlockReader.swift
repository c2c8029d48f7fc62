import HDF5

/// Elements of a one-dimensional dataset by their index, read in blocks, of which some are kept: as
/// many as a shuffled reader goes to and fro between. Memory does not grow with the dataset.
final class BlockReader<Element: HDF5Representable> {
  private static var blockSize: Int { 512 }
  private static var keptBlocks: Int { 32 }

  let count: Int
  private let dataset: HDF5Dataset
  private var blocks: [Int: [Element]] = [:]
  /// Elements of an index: those of a row, where the dataset has two dimensions.
  private let width: Int

  init(_ dataset: HDF5Dataset) {
    self.dataset = dataset
    count = dataset.shape.first ?? 0
    width = dataset.shape.dropFirst().reduce(1, *)
  }

  /// The element, or the first of the row.
  ///
  /// - Precondition: The index lies in `0..<count`, and rows have elements.
  func element(at index: Int) throws(HDF5Error) -> Element {
    precondition(index >= 0 && index < count && width > 0, "element \(index) of \(count)")
    let (number, place) = index.quotientAndRemainder(dividingBy: Self.blockSize)
    if let block = blocks[number] { return block[place * width] }
    let block = try values(
      of: number * Self.blockSize..<min((number + 1) * Self.blockSize, count))
    if blocks.count == Self.keptBlocks { blocks.removeAll(keepingCapacity: true) }
    blocks[number] = block
    return block[place * width]
  }

  private func values(of rows: Range<Int>) throws(HDF5Error) -> [Element] {
    var failure: HDF5Error?
    let size = rows.count * width
    let values = [Element](unsafeUninitializedCapacity: size) { buffer, initialized in
      do throws(HDF5Error) {
        let tail = Array(dataset.shape.dropFirst())
        try dataset.read(
          into: UnsafeMutableBufferPointer(rebasing: buffer[..<size]),
          start: [rows.lowerBound] + tail.map { _ in 0 }, count: [rows.count] + tail)
        initialized = size
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return values
  }
}
