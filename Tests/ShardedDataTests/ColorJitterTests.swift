import Interfaces
import TensorCore
import Testing

@testable import ShardedData

@Suite struct ColorJitterTests {
  /// To the bit.
  @Test func equalsPillow() throws {
    let jitter = ColorJitter()
    let cases = try GoldenImage.each("jitter") { golden in
      #expect(golden.jittered(by: jitter) == golden.expected, "\(golden.name) \(golden.parameters)")
    }
    #expect(cases == 20)
  }

  /// One operation written out, for every pair of bytes that can meet.
  @Test(arguments: [0.0, 0.3, 0.6, 1.0, 1.1, 1.4, 2.0] as [Float])
  func saturationBlendsWithTheGray(factor: Float) {
    let jitter = ColorJitter()
    let draw = ColorJitterDraw(
      brightness: 1, contrast: 1, saturation: factor, order: [.saturation])
    var image = TestImage(height: 256, width: 256, channels: 3)
    for index in 0..<256 * 256 {
      image.pixels[index * 3] = UInt8(index / 256)
      image.pixels[index * 3 + 1] = UInt8(index % 256)
      image.pixels[index * 3 + 2] = UInt8(index * 7 % 256)
    }
    let result = image.pixels.withUnsafeBufferPointer {
      TestImage(jitter.apply(draw, to: PixelView($0.baseAddress!, shape: image.shape)))
    }
    let expected = stride(from: 0, to: image.pixels.count, by: 3).flatMap { first -> [UInt8] in
      let colors = image.pixels[first..<first + 3].map { Int($0) }
      let gray = (19595 * colors[0] + 38470 * colors[1] + 7471 * colors[2] + 0x8000) >> 16
      return colors.map { value in
        let product = factor * Float(value - gray)
        return UInt8(min(max(Float(gray) + product, 0), 255))
      }
    }
    #expect(result.pixels == expected)
  }

  // MARK: Draws

  private func draws(_ strength: Double, count: Int = 3000) -> [ColorJitterDraw] {
    (0..<count).map {
      var random = CounterRandom(seed: 2, sample: $0, stream: .augmentation)
      return ColorJitterDraw(strength: strength, random: &random)
    }
  }

  @Test(arguments: [(0.4, 0.6 as Float, 1.4 as Float), (1, 0, 2)])
  func factorsFillTheirRange(strength: Double, lower: Float, upper: Float) {
    let draws = draws(strength)
    for factors in [
      draws.map(\.brightness), draws.map(\.contrast), draws.map(\.saturation),
    ] {
      #expect(factors.allSatisfy { $0 >= lower && $0 <= upper })
      let mean = factors.reduce(0, +) / Float(factors.count)
      #expect(abs(mean - 1) < 0.05 * (upper - lower))
      #expect(factors.contains { $0 < lower + 0.05 } && factors.contains { $0 > upper - 0.05 })
    }
  }

  @Test func everyOrderComesAsOften() {
    var counts: [[ColorOperation]: Int] = [:]
    for draw in draws(0.4) { counts[draw.order, default: 0] += 1 }
    #expect(counts.count == 6)
    #expect(counts.values.allSatisfy { abs($0 - 500) < 100 })
    #expect(counts.keys.allSatisfy { Set($0).count == 3 })
  }

  @Test func jitterLeavesFlipsAndBoxesAsTheyAre() {
    var jittered = trainingPlan
    jittered.colorJitter = 0.4
    for sample in 0..<100 {
      let draws = [trainingPlan, jittered].map {
        Augmentation.draw(
          plan: $0, width: 40, height: 30, seed: 1, key: SampleKey(epoch: 0, sample: sample))
      }
      #expect(draws[0].jitter == nil && draws[1].jitter != nil)
      #expect(draws[0].box == draws[1].box && draws[0].isFlipped == draws[1].isFlipped)
    }
  }
}
