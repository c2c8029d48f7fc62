import Glibc
import TensorCore

/// Images that are computed: gratings whose direction is the class, with random phase, frequency,
/// colour and noise. For tests and trial runs; there is something to learn in them.
public struct SyntheticImages: ImageSource {
  public let count: Int
  public let imageShape: ImageShape
  public let classNames: [String]
  private let seed: UInt64

  public init(count: Int, imageShape: ImageShape, classCount: Int = 10, seed: UInt64 = 0) {
    self.count = count
    self.imageShape = imageShape
    self.seed = seed
    classNames = (0..<classCount).map { "grating\($0)" }
  }

  public var origin: String { "synthetic gratings, seed \(seed)" }

  public func label(at index: Int) -> Int32 { Int32(index % classNames.count) }

  public func content(at index: Int) -> ImageContent { .pixels(image(at: index), imageShape) }

  /// A function of (seed, index).
  public func image(at index: Int) -> [UInt8] {
    var random = CounterRandom(seed: seed, sample: index, stream: .synthetic)
    let angle = Double.pi * Double(label(at: index)) / Double(classNames.count)
    let frequency = random.uniform(3, 6) * 2 * .pi / Double(imageShape.width)
    let phase = random.uniform(0, 2 * .pi)
    let contrast = (0..<imageShape.channels).map { _ in random.uniform(40, 100) }
    var pixels: [UInt8] = []
    pixels.reserveCapacity(imageShape.byteCount)
    for row in 0..<imageShape.height {
      for column in 0..<imageShape.width {
        let along = Double(column) * cos(angle) + Double(row) * sin(angle)
        let wave = sin(along * frequency + phase)
        for channel in 0..<imageShape.channels {
          let value = 127.5 + contrast[channel] * wave + random.uniform(-20, 20)
          pixels.append(UInt8(min(max(value, 0), 255)))
        }
      }
    }
    return pixels
  }
}
