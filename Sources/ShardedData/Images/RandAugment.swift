import Interfaces
import TensorCore

/// The operations of RandAugment, each with equal probability.
enum RandAugmentOperation: CaseIterable, Sendable {
  case autoContrast, equalize, invert, rotate, posterize, solarize, solarizeAdd
  case color, contrast, brightness, sharpness
  case shearX, shearY, translateX, translateY
}

/// One operation with its severity.
struct RandAugmentDraw: Equatable, Sendable {
  var operation: RandAugmentOperation
  /// In [0, 10].
  var magnitude: Double
  /// The sign of angles, shears, translations and of the change of an enhancement.
  var isNegative: Bool

  private func signed(_ largest: Double) -> Double {
    let value = magnitude / 10 * largest
    return isNegative ? -value : value
  }

  var degrees: Double { signed(30) }
  var shear: Double { signed(0.3) }
  /// Of the width or height.
  var translation: Double { signed(0.45) }
  /// 1 changes nothing.
  var enhancement: Float { Float(max(0.1, 1 + signed(0.9))) }
  var bitsToKeep: Int { 4 - Int(magnitude / 10 * 4) }
  var solarizeThreshold: Int { 256 - min(256, Int(magnitude / 10 * 256)) }
  var solarizeAddend: Int { min(128, Int(magnitude / 10 * 110)) }
}

/// Applies RandAugment to copies of pictures, keeping its scratch memory from one to the next.
///
/// Every operation gives the bits of Pillow's, which timm uses: tables of 256 entries; Pillow's
/// `ImageEnhance` in Float; for rotation, shear and translation Pillow's bicubic transform in
/// Double, which cuts off where others round. Gray pictures are changed as Pillow does in mode L.
///
/// Not for use from two threads at once.
final class RandAugment {
  /// What was drawn for one sample, in the order of application.
  struct Draws: Equatable, Sendable {
    static let count = 2
    static let probability = 0.5

    var operations: [RandAugmentDraw]
    /// A value a channel.
    let fill: [UInt8]

    init(_ operations: [RandAugmentDraw], fill: [UInt8]) {
      self.operations = operations
      self.fill = fill
    }

    /// Two operations, with replacement; each is left out with probability 1/2.
    init(_ plan: RandAugmentPlan, random: inout CounterRandom) {
      fill = plan.fill
      operations = []
      for _ in 0..<Draws.count {
        let all = RandAugmentOperation.allCases
        let operation = all[random.integer(below: all.count)]
        let isApplied = random.uniform() < Draws.probability
        let magnitude = plan.magnitude + plan.magnitudeDeviation * random.normalPair().0
        let isNegative = random.uniform() < 0.5
        guard isApplied else { continue }
        operations.append(
          RandAugmentDraw(
            operation: operation, magnitude: min(max(magnitude, 0), 10), isNegative: isNegative))
      }
    }
  }

  private let colorJitter = ColorJitter()
  /// Each operation reads one and writes the other.
  private let buffers = [ScratchBuffer<UInt8>(), ScratchBuffer<UInt8>()]
  private var next = 0
  private let numbers = ScratchBuffer<AffineMap.Pixel>()

  /// - Parameter source: Of 1 or 3 channels, pixels of 4 bytes.
  /// - Returns: Pixels of 4 bytes, of which the source's channels are defined. Valid until the
  ///   next call.
  func apply(_ draws: Draws, to source: PixelView) -> PixelView {
    precondition(
      (source.channels == 1 || source.channels == 3) && source.pixelStride == 4,
      "RandAugment of \(source.channels) channels, not 1 or 3")
    precondition(draws.fill.count >= source.channels, "one fill value a channel")
    var pixels = source
    for draw in draws.operations { pixels = apply(draw, fill: draws.fill, to: pixels) }
    return pixels
  }

  private func apply(
    _ draw: RandAugmentDraw, fill: [UInt8], to pixels: PixelView
  ) -> PixelView {
    switch draw.operation {
    case .autoContrast: return mapped(pixels, LookupTables.autoContrast(pixels))
    case .equalize: return mapped(pixels, LookupTables.equalize(pixels))
    case .invert: return mapped(pixels, .same { 255 - $0 })
    case .posterize:
      let mask = ~((1 << (8 - draw.bitsToKeep)) - 1)
      return mapped(pixels, .same { $0 & mask })
    case .solarize:
      let threshold = draw.solarizeThreshold
      return mapped(pixels, .same { $0 < threshold ? $0 : 255 - $0 })
    case .solarizeAdd:
      let addend = draw.solarizeAddend
      return mapped(pixels, .same { $0 < 128 ? min(255, $0 + addend) : $0 })
    case .color: return enhanced(pixels, draw, .saturation)
    case .contrast: return enhanced(pixels, draw, .contrast)
    case .brightness: return enhanced(pixels, draw, .brightness)
    case .sharpness:
      return written(pixels) { Sharpness.apply(pixels, factor: draw.enhancement, output: $0) }
    case .rotate, .shearX, .shearY, .translateX, .translateY:
      let map = AffineMap(draw, width: pixels.width, height: pixels.height)
      return written(pixels) { map.apply(pixels, fill: fill, scratch: numbers, output: $0) }
    }
  }

  private func enhanced(
    _ pixels: PixelView, _ draw: RandAugmentDraw, _ operation: ColorOperation
  ) -> PixelView {
    let factor = draw.enhancement
    return colorJitter.apply(
      ColorJitterDraw(
        brightness: factor, contrast: factor, saturation: factor, order: [operation]),
      to: pixels)
  }

  private func mapped(_ pixels: PixelView, _ tables: LookupTables) -> PixelView {
    written(pixels) { tables.apply(pixels, output: $0) }
  }

  /// What `body` writes, a picture of the same size.
  private func written(
    _ pixels: PixelView, _ body: (UnsafeMutablePointer<UInt8>) -> Void
  ) -> PixelView {
    let output = buffers[next].reserve(4 * pixels.width * pixels.height)
    next = 1 - next
    body(output)
    return PixelView(
      pointer: UnsafePointer(output), width: pixels.width, height: pixels.height,
      channels: pixels.channels, pixelStride: 4)
  }
}
