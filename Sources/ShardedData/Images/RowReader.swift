/// Reads the rows of a box, mirrored or not, and spreads their bytes to Float.
struct RowReader {
  private let source: PixelView
  private let touched: CropBox
  private let count: Int
  /// Bytes from the beginning of a row to the first pixel read, and from each to the next.
  private let start: Int
  private let step: Int

  /// - Parameters:
  ///   - touched: The box, in pixels of the image before mirroring.
  ///   - inputs: The columns read, counted in the box after mirroring.
  init(_ source: PixelView, touched: CropBox, isFlipped: Bool, inputs: Range<Int>) {
    self.source = source
    self.touched = touched
    count = inputs.count
    let column =
      isFlipped
      ? touched.left + touched.width - 1 - inputs.lowerBound : touched.left + inputs.lowerBound
    start = column * source.pixelStride
    step = isFlipped ? -source.pixelStride : source.pixelStride
  }

  /// The image's last row with room for reading 4 bytes of every pixel; any other has a row
  /// behind it.
  func copyOfLastRow(into buffer: ScratchBuffer<UInt8>) -> UnsafePointer<UInt8> {
    let bytes = (source.width - 1) * source.pixelStride + source.channels
    let copy = buffer.reserve(bytes + 4)
    copy.update(from: source.pointer + (source.height - 1) * source.rowStride, count: bytes)
    (copy + bytes).update(repeating: 0, count: 4)
    return UnsafePointer(copy)
  }

  /// Four rows pixel by pixel: `[inputs, 4 rows, 4 channels]`.
  ///
  /// - Parameters:
  ///   - first: Counted in the box.
  ///   - limit: Rows from here on are replaced by the one before.
  ///   - last: What stands for the image's last row.
  func spread(
    rows first: Int, limit: Int, last: UnsafePointer<UInt8>,
    into target: UnsafeMutablePointer<Float>
  ) {
    func row(_ index: Int) -> UnsafeRawPointer {
      let row = touched.top + min(first + index, limit - 1)
      let base = row == source.height - 1 ? last : source.pointer + row * source.rowStride
      return UnsafeRawPointer(base + start)
    }
    var (row0, row1, row2, row3) = (row(0), row(1), row(2), row(3))
    var target = target
    for _ in 0..<count {
      target.setFloats(0, row0, row1)
      target.setFloats(8, row2, row3)
      target += 16
      (row0, row1, row2, row3) = (row0 + step, row1 + step, row2 + step, row3 + step)
    }
  }
}

extension UnsafeMutablePointer where Pointee == Float {
  /// Four bytes each of two places as eight floats.
  @inline(__always)
  fileprivate func setFloats(_ index: Int, _ low: UnsafeRawPointer, _ high: UnsafeRawPointer) {
    let pixels = SIMD8<UInt32>(
      lowHalf: SIMD4(repeating: low.loadUnaligned(as: UInt32.self)),
      highHalf: SIMD4(repeating: high.loadUnaligned(as: UInt32.self)))
    let bytes = (pixels &>> SIMD8(0, 8, 16, 24, 0, 8, 16, 24)) & 255
    // The conversion by hand, as the compiler takes it apart: 2^23 + n has n in its low bits.
    let magic: Float = 8_388_608
    setLanes(index, unsafeBitCast(bytes | magic.bitPattern, to: SIMD8<Float>.self) - magic)
  }
}
