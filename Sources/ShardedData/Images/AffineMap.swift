import Glibc

/// A picture moved, sheared or turned: output pixel (x, y) shows the input at
/// `(a x + b y + c, d x + e y + f)`, all in coordinates where pixel centres are at halves.
///
/// Bicubic (Keys' cubic with a = -1) as Pillow's `Image.transform`, to the bit: Double, results cut
/// off to bytes, rows and columns beyond the border repeated; centres outside of the picture become
/// the fill colour.
struct AffineMap {
  private let (a, b, c): (Double, Double, Double)
  private let (d, e, f): (Double, Double, Double)

  private init(_ first: (Double, Double, Double), _ second: (Double, Double, Double)) {
    (a, b, c) = first
    (d, e, f) = second
  }

  /// - Precondition: The operation is a geometric one.
  init(_ draw: RandAugmentDraw, width: Int, height: Int) {
    switch draw.operation {
    case .shearX: self.init((1, draw.shear, 0), (0, 1, 0))
    case .shearY: self.init((1, 0, 0), (draw.shear, 1, 0))
    case .translateX: self.init((1, 0, draw.translation * Double(width)), (0, 1, 0))
    case .translateY: self.init((1, 0, 0), (0, 1, draw.translation * Double(height)))
    case .rotate: self.init(degrees: draw.degrees, width: width, height: height)
    default: preconditionFailure("\(draw.operation) is no geometric operation")
    }
  }

  /// Counterclockwise around the middle; sine and cosine rounded to 15 decimals.
  private init(degrees: Double, width: Int, height: Int) {
    let turned = degrees < 0 ? degrees + 360 : degrees
    let angle = -(turned * (Double.pi / 180))
    let cosine = AffineMap.rounded(cos(angle))
    let (sine, negative) = (AffineMap.rounded(sin(angle)), AffineMap.rounded(-sin(angle)))
    let (x, y) = (Double(width) / 2, Double(height) / 2)
    self.init(
      (cosine, sine, cosine * -x + sine * -y + 0 + x),
      (negative, cosine, negative * -x + cosine * -y + 0 + y))
  }

  private static func rounded(_ value: Double) -> Double {
    (value * 1e15).rounded(.toNearestOrEven) / 1e15
  }

  /// All four bytes of a pixel at once.
  typealias Pixel = SIMD4<Double>

  /// - Parameters:
  ///   - fill: A value a channel.
  ///   - scratch: Gets the picture as numbers: each is looked at sixteen times.
  ///   - output: Pixels of 4 bytes.
  func apply(
    _ pixels: PixelView, fill: [UInt8], scratch: ScratchBuffer<Pixel>,
    output: UnsafeMutablePointer<UInt8>
  ) {
    precondition(pixels.pixelStride == 4, "pixels of \(pixels.pixelStride) bytes")
    let count = pixels.width * pixels.height
    let numbers = scratch.reserve(count)
    for index in 0..<count {
      let bytes = UnsafeRawPointer(pixels.pointer + 4 * index)
        .loadUnaligned(as: SIMD4<UInt8>.self)
      numbers[index] = AffineMap.numbers(bytes)
    }
    let picture = Picture(numbers: numbers, width: pixels.width, height: pixels.height)
    var outside = SIMD4<UInt8>.zero
    for channel in 0..<pixels.channels { outside[channel] = fill[channel] }
    let (width, height) = (Double(pixels.width), Double(pixels.height))
    for row in 0..<pixels.height {
      for column in 0..<pixels.width {
        let (x, y) = (Double(column) + 0.5, Double(row) + 0.5)
        let (left, top) = (a * x + b * y + c, d * x + e * y + f)
        let isInside = left >= 0 && left < width && top >= 0 && top < height
        let value = isInside ? picture.interpolate(left - 0.5, top - 0.5) : outside
        UnsafeMutableRawPointer(output + 4 * (row * pixels.width + column)).storeBytes(
          of: value, as: SIMD4<UInt8>.self)
      }
    }
  }

  private struct Picture {
    let numbers: UnsafeMutablePointer<Pixel>
    let width: Int
    let height: Int

    @inline(__always)
    func interpolate(_ x: Double, _ y: Double) -> SIMD4<UInt8> {
      let (left, top) = (x.rounded(.down), y.rounded(.down))
      let (dx, dy) = (x - left, y - top)
      let (column, row) = (Int(left) - 1, Int(top) - 1)
      let last = width - 1
      let columns = (
        min(max(column, 0), last), min(max(column + 1, 0), last),
        min(max(column + 2, 0), last), min(max(column + 3, 0), last)
      )
      @inline(__always)
      func line(_ index: Int) -> Pixel {
        let start = numbers + min(max(index, 0), height - 1) * width
        return AffineMap.cubic(
          start[columns.0], start[columns.1], start[columns.2], start[columns.3], dx)
      }
      let value = AffineMap.cubic(line(row), line(row + 1), line(row + 2), line(row + 3), dy)
      return AffineMap.bytes(value)
    }
  }

  /// Numbers from 2^52 on have the integer in their low bits. Converting lanes one by one would
  /// take longer than the polynomial.
  private static let magic = Pixel(repeating: 0x1p52)

  @inline(__always)
  private static func numbers(_ bytes: SIMD4<UInt8>) -> Pixel {
    let bits = SIMD4<UInt64>(truncatingIfNeeded: bytes) | (0x1p52 as Double).bitPattern
    return unsafeBitCast(bits, to: Pixel.self) - magic
  }

  /// Limited to bytes, the fraction cut off.
  @inline(__always)
  private static func bytes(_ value: Pixel) -> SIMD4<UInt8> {
    let low = value.replacing(with: 0, where: value .< 0)
    let limited = low.replacing(with: 255, where: low .> 255)
    let nearest = limited + magic
    let down = nearest.replacing(with: nearest - 1, where: nearest - magic .> limited)
    return SIMD4<UInt8>(truncatingIfNeeded: unsafeBitCast(down, to: SIMD4<UInt64>.self))
  }

  /// The polynomial through four values, in Pillow's order of operations.
  @inline(__always)
  private static func cubic(
    _ v1: Pixel, _ v2: Pixel, _ v3: Pixel, _ v4: Pixel, _ d: Double
  ) -> Pixel {
    let p2 = v3 - v1
    let p3 = (v1 - v2) * 2 + v3 - v4
    let p4 = v2 - v1 - v3 + v4
    return v2 + (p2 + (p3 + p4 * d) * d) * d
  }
}
