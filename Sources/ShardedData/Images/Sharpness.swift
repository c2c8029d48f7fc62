/// Pillow's `ImageEnhance.Sharpness`, to the bit: a blend of each pixel with a mean of its
/// neighbourhood, `(8 neighbours + 5 itself) / 13`, rounded. Pixels on the border stay.
enum Sharpness {
  /// - Parameter output: Pixels of 4 bytes; not the memory of `pixels`.
  static func apply(
    _ pixels: PixelView, factor: Float, output: UnsafeMutablePointer<UInt8>
  ) {
    let (width, height, step) = (pixels.width, pixels.height, pixels.pixelStride)
    for row in 0..<height {
      let isInside = row > 0 && row < height - 1
      for column in 0..<width {
        let centre = pixels.pointer + (row * width + column) * step
        let target = output + 4 * (row * width + column)
        for channel in 0..<pixels.channels {
          let value = Int32(centre[channel])
          guard isInside, column > 0, column < width - 1 else {
            target[channel] = UInt8(value)
            continue
          }
          var sum = 4 * value
          for line in -1...1 {
            let middle = line * width * step + channel
            sum += Int32(centre[middle - step]) + Int32(centre[middle])
            sum += Int32(centre[middle + step])
          }
          target[channel] = blend((2 * sum + 13) / 26, value, factor)
        }
      }
    }
  }

  /// `smooth + factor (value - smooth)`, product and sum rounded each, cut off to a byte.
  @inline(__always)
  private static func blend(_ smooth: Int32, _ value: Int32, _ factor: Float) -> UInt8 {
    let product = factor * Float(value - smooth)
    return UInt8(min(max(Float(smooth) + product, 0), 255))
  }
}
