import TensorCore

/// An 8-bit change of a whole image's colours.
public enum ColorOperation: CaseIterable, Sendable {
  case brightness
  case contrast
  case saturation
}

/// What was drawn for the colours of one sample. A factor of 1 changes nothing.
public struct ColorJitterDraw: Equatable, Sendable {
  public var brightness: Float
  public var contrast: Float
  public var saturation: Float
  public var order: [ColorOperation]

  public init(
    brightness: Float, contrast: Float, saturation: Float, order: [ColorOperation]
  ) {
    self.brightness = brightness
    self.contrast = contrast
    self.saturation = saturation
    self.order = order
  }

  /// The operations in random order, each factor from `U(max(0, 1 - strength), 1 + strength)`.
  ///
  /// - SeeAlso: torchvision's `ColorJitter(strength, strength, strength)`, without hue.
  init(strength: Double, random: inout CounterRandom) {
    order = ColorOperation.allCases
    for last in stride(from: order.count - 1, to: 0, by: -1) {
      order.swapAt(last, random.integer(below: last + 1))
    }
    func factor() -> Float { Float(random.uniform(max(0, 1 - strength), 1 + strength)) }
    (brightness, contrast, saturation) = (factor(), factor(), factor())
  }
}

/// Applies colour jitter to copies of images, keeping its scratch memory from one to the next.
///
/// Every operation is `blend(other, image, factor) = other + factor (image - other)`, computed in
/// Float, cut off to a byte: with black for brightness; for contrast, with the mean gray of the
/// whole image; with each pixel's own gray for saturation. Results equal those of Pillow's
/// `ImageEnhance` to the bit. Gray images are taken as colours of three equal parts, which gives
/// what Pillow does with them: saturation changes nothing.
///
/// Not for use from two threads at once.
final class ColorJitter {
  /// Eight pixels, or one colour of each.
  private typealias Lanes = SIMD8<Int32>

  private let copy = ScratchBuffer<Int32>()

  /// - Parameter source: Of 1 or 3 channels.
  /// - Returns: 4 bytes a pixel, of which the source's channels are defined. Valid until the next
  ///   call.
  func apply(_ draw: ColorJitterDraw, to source: PixelView) -> PixelView {
    let count = source.width * source.height
    // Whole lanes. Black pixels at the end, which stay black until contrast has taken its mean.
    let padded = (count + 7) / 8 * 8
    let pixels = copy.reserve(padded)
    fill(pixels, source)
    (pixels + count).update(repeating: 0, count: padded - count)
    for operation in draw.order {
      switch operation {
      case .brightness:
        blend(pixels, padded, factor: draw.brightness) { _ in Lanes(repeating: 0) }
      case .contrast:
        let mean = Lanes(repeating: Self.meanGray(pixels, padded, of: count))
        blend(pixels, padded, factor: draw.contrast) { _ in mean }
      case .saturation:
        blend(pixels, padded, factor: draw.saturation) { Self.gray($0) }
      }
    }
    return PixelView(
      pointer: UnsafeRawPointer(pixels).assumingMemoryBound(to: UInt8.self), width: source.width,
      height: source.height, channels: source.channels, pixelStride: 4)
  }

  private func fill(_ pixels: UnsafeMutablePointer<Int32>, _ source: PixelView) {
    let count = source.width * source.height
    var pointer = source.pointer
    switch source.channels {
    case 1:
      for index in 0..<count {
        pixels[index] = Int32(pointer[0]) &* 0x01_0101
        pointer += source.pixelStride
      }
    case 3:
      for index in 0..<count {
        pixels[index] =
          Int32(pointer[0]) | Int32(pointer[1]) << 8 | Int32(pointer[2]) << 16
        pointer += source.pixelStride
      }
    default: preconditionFailure("colour jitter of \(source.channels) channels, not 1 or 3")
    }
  }

  /// The mean, rounded, of the first `count` pixels; those up to `padded` are black.
  private static func meanGray(
    _ pixels: UnsafePointer<Int32>, _ padded: Int, of count: Int
  ) -> Int32 {
    var sum = 0
    // Sums of 32 bits hold 2^24 bytes.
    for first in stride(from: 0, to: padded, by: 1 << 24) {
      var lanes = Lanes(repeating: 0)
      for index in stride(from: first, to: min(padded, first + 1 << 24), by: 8) {
        lanes &+= gray(UnsafeRawPointer(pixels + index).loadUnaligned(as: Lanes.self))
      }
      for lane in 0..<8 { sum += Int(lanes[lane]) }
    }
    return Int32(Double(sum) / Double(count) + 0.5)
  }

  @inline(__always)
  private func blend(
    _ pixels: UnsafeMutablePointer<Int32>, _ count: Int, factor: Float,
    with other: (Lanes) -> Lanes
  ) {
    for index in stride(from: 0, to: count, by: 8) {
      let address = UnsafeMutableRawPointer(pixels + index)
      let old = address.loadUnaligned(as: Lanes.self)
      let other = other(old)
      var new = Lanes(repeating: 0)
      // A loop, as the compiler does not make three calls inline.
      for shift in stride(from: Int32(0), to: 24, by: 8) {
        new |= Self.blend(other, (old &>> shift) & 255, factor) &<< shift
      }
      address.storeBytes(of: new, as: Lanes.self)
    }
  }

  /// ITU-R 601 luma, as Pillow's `convert("L")` rounds it.
  @inline(__always)
  private static func gray(_ pixels: Lanes) -> Lanes {
    let (red, green, blue) = (pixels & 255, (pixels &>> 8) & 255, (pixels &>> 16) & 255)
    return (red &* 19595 &+ green &* 38470 &+ blue &* 7471 &+ 0x8000) &>> 16
  }

  /// Product and sum are rounded each, as in C without contraction: no fused multiply-add here.
  @inline(__always)
  private static func blend(_ other: Lanes, _ value: Lanes, _ factor: Float) -> Lanes {
    let mixed = float(other) + float(value &- other) * factor
    // Rounded down, with the integer in the low bits, then limited to bytes.
    let nearest = mixed + magic
    let down = nearest.replacing(with: nearest - 1, where: mixed .< nearest - magic)
    let (low, high) = (SIMD8(repeating: magic), SIMD8(repeating: magic + 255))
    let raised = down.replacing(with: low, where: down .< low)
    let limited = raised.replacing(with: high, where: high .< raised)
    return unsafeBitCast(limited, to: Lanes.self) & 255
  }

  /// Adding 1.5 x 2^23 leaves the nearest integer in the low bits.
  private static let magic: Float = 12_582_912

  @inline(__always)
  private static func float(_ value: Lanes) -> SIMD8<Float> {
    unsafeBitCast(value &+ Int32(bitPattern: magic.bitPattern), to: SIMD8<Float>.self) - magic
  }
}
