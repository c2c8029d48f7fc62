/// How the stored pixels of a picture have to be turned to be seen as they were taken: first
/// mirrored, then rows and columns exchanged.
struct ImageOrientation: Equatable {
  let mirrorsColumns: Bool
  let mirrorsRows: Bool
  /// Stored columns become rows.
  let isTransposed: Bool

  /// - Parameter exif: 1 to 8, as EXIF numbers it (tag 0x0112): where the stored first row and
  ///   first column are seen. 1 top, left; 2 top, right; 3 bottom, right; 4 bottom, left; 5 left,
  ///   top; 6 right, top; 7 right, bottom; 8 left, bottom.
  init(exif: Int) {
    mirrorsColumns = [2, 3, 7, 8].contains(exif)
    mirrorsRows = [3, 4, 6, 7].contains(exif)
    isTransposed = exif >= 5
  }

  var isIdentity: Bool { !mirrorsColumns && !mirrorsRows && !isTransposed }

  /// Width and height as seen, from those as stored, or the other way.
  func size(_ width: Int, _ height: Int) -> (width: Int, height: Int) {
    isTransposed ? (height, width) : (width, height)
  }

  /// Where a box of the picture as seen is stored.
  ///
  /// - Parameters:
  ///   - width: As stored. - height: As stored.
  func stored(_ box: CropBox, width: Int, height: Int) -> CropBox {
    var result = box
    if isTransposed {
      result = CropBox(left: box.top, top: box.left, width: box.height, height: box.width)
    }
    if mirrorsColumns { result.left = width - result.left - result.width }
    if mirrorsRows { result.top = height - result.top - result.height }
    return result
  }

  /// Where a stored box is seen: the inverse of `stored`.
  func seen(_ box: SourceBox, width: Int, height: Int) -> SourceBox {
    var result = box
    if mirrorsColumns { result.left = Double(width) - box.left - box.width }
    if mirrorsRows { result.top = Double(height) - box.top - box.height }
    if isTransposed {
      swap(&result.left, &result.top)
      swap(&result.width, &result.height)
    }
    return result
  }

  /// Pixels as seen.
  ///
  /// - Parameter output: Room for as many pixels as `stored` has.
  func turn(_ stored: PixelView, to output: UnsafeMutablePointer<UInt8>) -> PixelView {
    let size = size(stored.width, stored.height)
    let columnStep = (mirrorsColumns ? -1 : 1) * stored.pixelStride
    let rowStep = (mirrorsRows ? -1 : 1) * stored.rowStride
    let first =
      stored.pointer + (mirrorsColumns ? (stored.width - 1) * stored.pixelStride : 0)
      + (mirrorsRows ? (stored.height - 1) * stored.rowStride : 0)
    let (step, lineStep) = isTransposed ? (rowStep, columnStep) : (columnStep, rowStep)
    for row in 0..<size.height {
      let source = first + row * lineStep
      let target = output + row * size.width * stored.pixelStride
      for column in 0..<size.width {
        for byte in 0..<stored.pixelStride {
          target[column * stored.pixelStride + byte] = source[column * step + byte]
        }
      }
    }
    return PixelView(
      pointer: output, width: size.width, height: size.height, channels: stored.channels,
      pixelStride: stored.pixelStride)
  }
}
