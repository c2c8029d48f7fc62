import HDF5
import Interfaces
import TensorCore
import TestSupport
import Testing

@testable import ShardedData

@Suite struct RandAugmentTests {
  static let file = GoldenFile.path("augmentations.h5")
  static let plan = RandAugmentPlan(mean: [0.485, 0.456, 0.406])

  @Test func theMeanIsTheFill() {
    #expect(RandAugmentTests.plan.fill == [124, 116, 104])
    #expect(RandAugmentPlan(mean: [0.1307, -0.1, 1.2]).fill == [33, 0, 255])
  }

  // MARK: Operations

  /// Of a case of Scripts/reference/augmentations.py: operation, magnitude and sign, repeated.
  private func given(_ parameters: [Double]) -> RandAugment.Draws {
    RandAugment.Draws(
      stride(from: 0, to: parameters.count, by: 3).map { first in
        RandAugmentDraw(
          operation: RandAugmentOperation.allCases[Int(parameters[first])],
          magnitude: parameters[first + 1], isNegative: parameters[first + 2] == 1)
      }, fill: RandAugmentTests.plan.fill)
  }

  private func applied(
    _ draws: RandAugment.Draws, to image: TestImage, by augment: RandAugment
  ) -> TestImage {
    // Pixels of 4 bytes, as they come from the resampler.
    let padded = (0..<image.shape.height * image.shape.width).flatMap { pixel in
      (0..<4).map { channel in
        channel < image.shape.channels
          ? image.pixels[pixel * image.shape.channels + channel] : 0xA5
      }
    }
    return padded.withUnsafeBufferPointer { pixels in
      let view = PixelView(
        pointer: pixels.baseAddress!, width: image.shape.width, height: image.shape.height,
        channels: image.shape.channels, pixelStride: 4)
      return TestImage(augment.apply(draws, to: view))
    }
  }

  /// To the bit: every operation, on colours, gray, noise and all but flat pictures.
  @Test(arguments: [("rand", 60), ("twice", 10)])
  func equalsTimmOnTheSameDraws(kind: String, count: Int) throws {
    let augment = RandAugment()
    let cases = try GoldenImage.each(kind, in: RandAugmentTests.file) { golden in
      let draws = given(golden.parameters)
      let result = applied(draws, to: golden.image, by: augment)
      #expect(
        result == golden.expected,
        "\(golden.name) \(draws): \(result.difference(golden.expected))")
    }
    #expect(cases == count)
  }

  @Test func withoutOperationsThePictureIsTheSame() {
    let image = TestImage([1, 2, 3, 4, 5, 6], shape: ImageShape(height: 1, width: 2, channels: 3))
    let none = RandAugment.Draws([], fill: [0, 0, 0])
    #expect(applied(none, to: image, by: RandAugment()) == image)
  }

  // MARK: Draws

  private func drawn(_ sample: Int, seed: UInt64 = 1, epoch: Int = 0) -> RandAugment.Draws {
    var random = Augmentation.random(
      .randAugment, plan: trainingPlan, seed: seed,
      key: SampleKey(epoch: epoch, sample: sample), name: "")
    return RandAugment.Draws(RandAugmentTests.plan, random: &random)
  }

  @Test func halfOfTheOperationsAreAppliedAllAsOften() {
    let draws = (0..<15_000).map { drawn($0).operations }
    let operations = draws.joined()
    #expect(abs(operations.count - 15_000) < 400)
    for operation in RandAugmentOperation.allCases {
      #expect(abs(operations.count { $0.operation == operation } - 1000) < 150, "\(operation)")
    }
    #expect(abs(draws.count { $0.isEmpty } - 3750) < 250)
    #expect(abs(operations.count { $0.isNegative } - 7500) < 300)
  }

  /// N(9, 0.5): 2.3 % would lie above 10.
  @Test func magnitudesAreNormalAndLimited() {
    let magnitudes = (0..<15_000).flatMap { drawn($0).operations.map(\.magnitude) }
    #expect(magnitudes.allSatisfy { (0...10).contains($0) })
    let count = Double(magnitudes.count)
    let mean = magnitudes.reduce(0, +) / count
    let variance = magnitudes.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count
    #expect(abs(mean - 9) < 0.02)
    #expect(abs(variance.squareRoot() - 0.49) < 0.02)
    #expect(abs(Double(magnitudes.count { $0 == 10 }) / count - 0.0228) < 0.006)
  }

  @Test func drawsDependOnSeedEpochAndSample() {
    func some(_ seed: UInt64, _ epoch: Int) -> [RandAugment.Draws] {
      (0..<10).map { drawn($0, seed: seed, epoch: epoch) }
    }
    #expect(some(1, 0) == some(1, 0))
    #expect(some(1, 0) != some(2, 0))
    #expect(some(1, 0) != some(1, 1))
    #expect(Set(some(1, 0).map { $0.operations.first?.magnitude }).count > 5)
  }
}

@Suite struct RandomErasingTests {
  private struct GoldenErasure {
    let image: [Float]
    let expected: [Float]
    let noise: [Float]
    let shape: [Int]
    let parameters: [Double]

    init(_ number: Int) throws {
      let root = try HDF5File(path: RandAugmentTests.file, .readOnly).root
      func floats(_ name: String) throws -> [Float] {
        try root.dataset("erase00\(number)-\(name)").read()
      }
      image = try floats("image")
      expected = try floats("expected")
      noise = try floats("noise")
      shape = try root.dataset("erase00\(number)-image").shape
      parameters = try root.dataset("erase00\(number)-parameters").read()
    }
  }

  /// To the bit: size from the draws, place and noise as given.
  @Test(arguments: 0..<3) func equalsTimmOnTheSameNoise(number: Int) throws {
    let golden = try GoldenErasure(number)
    let size = golden.shape[1]
    let sides = RandomErasing.sides(
      areaShare: golden.parameters[0], logAspect: golden.parameters[1], size: size)
    #expect(sides.height * sides.width * golden.shape[0] == golden.noise.count)
    let box = CropBox(
      left: Int(golden.parameters[3]), top: Int(golden.parameters[2]), width: sides.width,
      height: sides.height)
    var (result, next) = (golden.image, 0)
    RandomErasing.erase(&result, channels: golden.shape[0], size: size, box: box) {
      next += 1
      return golden.noise[next - 1]
    }
    #expect(sameBits(result, golden.expected))
  }

  private func random(_ sample: Int) -> CounterRandom {
    CounterRandom(seed: 4, sample: sample, stream: .randomErasing)
  }

  @Test(arguments: [7, 32, 224]) func boxesAreInsideAndHaveTheirArea(size: Int) throws {
    for sample in 0..<500 {
      var random = random(sample)
      let box = try #require(RandomErasing.box(size: size, random: &random))
      #expect(box.left >= 0 && box.left + box.width <= size && box.width < size)
      #expect(box.top >= 0 && box.top + box.height <= size && box.height < size)
      let (w, h) = (Double(box.width), Double(box.height))
      #expect((w + 0.5) * (h + 0.5) >= 0.02 * Double(size * size))
      #expect(max(w - 0.5, 0) * max(h - 0.5, 0) <= Double(size * size) / 3)
    }
  }

  @Test func aQuarterIsErasedWithNormalNoise() {
    let (size, marker) = (12, Float(50))
    var (erased, values) = (0, [Double]())
    for sample in 0..<2000 {
      var view = [Float](repeating: marker, count: 2 * size * size)
      var random = random(sample)
      RandomErasing.apply(
        to: &view, channels: 2, size: size, probability: 0.25, random: &random)
      let changed = view.filter { $0 != marker }
      #expect(changed.count % 2 == 0)
      erased += changed.isEmpty ? 0 : 1
      values += changed.map(Double.init)
    }
    #expect(abs(erased - 500) < 90)
    let count = Double(values.count)
    let mean = values.reduce(0, +) / count
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count
    #expect(abs(mean) < 0.03)
    #expect(abs(variance - 1) < 0.04)
    // The tails of the normal distribution: 4.55 % beyond two deviations.
    #expect(abs(Double(values.count { abs($0) > 2 }) / count - 0.0455) < 0.006)
  }
}
