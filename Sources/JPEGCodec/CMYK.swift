/// Conversion of CMYK, which JPEG files hold inverted (255 is no ink), as Adobe's programs do.
///
/// Rule and rounding are Pillow's, which takes all files for inverted whether or not they name
/// Adobe: `red = k - c x k / 255` with the ink `c = 255 - stored` and `k` as stored.
enum CMYK {
  /// - Parameters:
  ///   - pixels: `[count, 4]`.
  ///   - output: `[count, 4]`, or `[count]` if gray.
  static func convert(
    _ pixels: UnsafePointer<UInt8>, count: Int, isGray: Bool,
    to output: UnsafeMutablePointer<UInt8>
  ) {
    for index in 0..<count {
      let pixel = pixels + index * 4
      let black = Int32(pixel[3])
      let red = light(ink: 255 - Int32(pixel[0]), black: black)
      let green = light(ink: 255 - Int32(pixel[1]), black: black)
      let blue = light(ink: 255 - Int32(pixel[2]), black: black)
      if isGray {
        // ITU-R BT.601 in 16 fraction bits.
        let sum = 19_595 * red + 38_470 * green + 7_471 * blue + 32_768
        output[index] = UInt8(truncatingIfNeeded: sum >> 16)
      } else {
        output[index * 4] = UInt8(truncatingIfNeeded: red)
        output[index * 4 + 1] = UInt8(truncatingIfNeeded: green)
        output[index * 4 + 2] = UInt8(truncatingIfNeeded: blue)
        output[index * 4 + 3] = 255
      }
    }
  }

  private static func light(ink: Int32, black: Int32) -> Int32 {
    let product = ink * black + 128
    // A division by 255, to the nearest.
    return black - ((product >> 8 + product) >> 8)
  }
}
