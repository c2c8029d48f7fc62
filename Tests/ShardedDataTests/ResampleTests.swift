import Interfaces
import TensorCore
import Testing

@testable import ShardedData

@Suite struct ResampleTests {
  /// One step of 8 bits: sums are Float here and integers in Pillow.
  static let tolerance = 1

  private let resampler = Resampler()

  @Test func agreesWithPillow() throws {
    var (values, different) = (0, 0)
    let cases = try GoldenImage.each("resize") { golden in
      let result = golden.resized(by: resampler)
      #expect(
        result.difference(golden.expected) <= ResampleTests.tolerance,
        "\(golden.name) \(golden.parameters)")
      values += result.pixels.count
      different += zip(result.pixels, golden.expected.pixels).count { $0 != $1 }
    }
    #expect(cases == 38)
    #expect(different * 10_000 <= values, "\(different) of \(values) values differ")
  }

  @Test func theMiddleAgreesWithTorchvision() throws {
    let cases = try GoldenImage.each("middle") { golden in
      #expect(
        golden.middle(by: resampler).difference(golden.expected) <= ResampleTests.tolerance,
        "\(golden.name) \(golden.parameters)")
    }
    #expect(cases == 9)
  }

  // MARK: Against the plain algorithm

  private func noise(_ random: inout CounterRandom, _ shape: ImageShape) -> TestImage {
    let pixels = (0..<shape.byteCount).map { _ -> UInt8 in
      // Many at both ends, where results are cut off.
      UInt8(min(max(random.integer(below: 512) - 128, 0), 255))
    }
    return TestImage(pixels, shape: shape)
  }

  /// Sizes from one pixel on, one to five channels, whole and fractional boxes, both directions.
  @Test(arguments: [ResampleFilter.bicubic, .lanczos])
  func agreesWithThePlainAlgorithm(filter: ResampleFilter) {
    var random = CounterRandom(seed: 5, stream: .synthetic)
    for number in 0..<150 {
      let shape = ImageShape(
        height: 1 + random.integer(below: 40), width: 1 + random.integer(below: 40),
        channels: 1 + number % 5)
      let image = noise(&random, shape)
      let box = box(&random, in: shape)
      let isFlipped = random.uniform() < 0.5
      let (width, height) = (1 + random.integer(below: 50), 1 + random.integer(below: 50))
      let whole = CropBox(box)
      let result: TestImage
      if let whole {
        result = TestImage(
          Resample.resized(
            image.pixels, shape: shape, box: whole, isFlipped: isFlipped, toWidth: width,
            toHeight: height, filter: filter),
          shape: ImageShape(height: height, width: width, channels: shape.channels))
      } else if shape.channels <= 4 {
        result = resampler.resized(
          image, flippedBox: box, isFlipped: isFlipped, toWidth: width, toHeight: height,
          filter: filter)
      } else {
        continue
      }
      let expected = ReferenceResampler.resize(
        image, box: box, isFlipped: isFlipped, toWidth: width, toHeight: height, filter: filter)
      #expect(
        result.difference(expected) <= ResampleTests.tolerance,
        "\(shape) \(box) \(isFlipped) to \(height) x \(width)")
    }
  }

  /// Every other box has edges inside pixels.
  private func box(_ random: inout CounterRandom, in shape: ImageShape) -> SourceBox {
    let left = random.integer(below: shape.width)
    let top = random.integer(below: shape.height)
    let width = 1 + random.integer(below: shape.width - left)
    let height = 1 + random.integer(below: shape.height - top)
    let cut = random.uniform() < 0.5 ? 0 : Double(1 + random.integer(below: 7)) / 16
    return SourceBox(
      left: Double(left) + cut, top: Double(top) + cut / 2, width: Double(width) - cut * 2,
      height: Double(height) - cut)
  }

  @Test(arguments: [ResampleFilter.bicubic, .lanczos])
  func aWindowIsAPartOfTheWhole(filter: ResampleFilter) {
    var random = CounterRandom(seed: 6, stream: .synthetic)
    let image = noise(&random, ImageShape(height: 37, width: 53, channels: 3))
    for (width, height) in [(80, 91), (31, 22), (53, 9)] {
      for isFlipped in [false, true] {
        let box = SourceBox(left: 2, top: 1.5, width: 49.25, height: 34)
        func resized(_ window: CropBox?) -> TestImage {
          resampler.resized(
            image, flippedBox: box, isFlipped: isFlipped, toWidth: width, toHeight: height,
            window: window, filter: filter)
        }
        let whole = resized(nil)
        for window in [
          CropBox(left: 0, top: 0, width: 1, height: 1),
          CropBox(left: width - 9, top: height - 3, width: 9, height: 3),
          CropBox(left: 7, top: 2, width: 16, height: height - 2),
        ] {
          #expect(resized(window) == whole.cropped(window), "\(window)")
        }
      }
    }
  }

  /// Decoders pad three colours to four bytes.
  @Test func padsOfPixelsDoNotMatter() {
    var random = CounterRandom(seed: 7, stream: .synthetic)
    let plain = noise(&random, ImageShape(height: 19, width: 23, channels: 3))
    for pixelStride in 4...6 {
      var padded = [UInt8](repeating: 99, count: 19 * 23 * pixelStride)
      for (index, value) in plain.pixels.enumerated() {
        padded[index / 3 * pixelStride + index % 3] = value
      }
      let box = SourceBox(left: 1, top: 2, width: 22, height: 17)
      let result = padded.withUnsafeBufferPointer { pixels in
        TestImage(
          resampler.resize(
            PixelView(
              pointer: pixels.baseAddress!, width: 23, height: 19, channels: 3,
              pixelStride: pixelStride), box: box, toWidth: 11, toHeight: 30, filter: .bicubic))
      }
      let expected = resampler.resized(
        plain, flippedBox: box, isFlipped: false, toWidth: 11, toHeight: 30, filter: .bicubic)
      #expect(result == expected)
    }
  }

  // MARK: What every resize does

  @Test(arguments: [ResampleFilter.bicubic, .lanczos])
  func constantImagesStayConstant(filter: ResampleFilter) {
    for (width, height, size) in [(28, 28, 32), (50, 13, 7), (1, 1, 9), (3, 200, 20)] {
      let shape = ImageShape(height: height, width: width, channels: 3)
      let pixels = repeated([10, 128, 255], width * height)
      let result = Resample.resized(
        pixels, shape: shape, toWidth: size, toHeight: size, filter: filter)
      #expect(result == repeated([10, 128, 255], size * size))
    }
  }

  private func repeated(_ pixel: [UInt8], _ count: Int) -> [UInt8] {
    Array(repeatElement(pixel, count: count).joined())
  }

  @Test func theSameSizeIsACopyAndAFlipMirrors() {
    let shape = ImageShape(height: 2, width: 3, channels: 1)
    let pixels: [UInt8] = [1, 2, 3, 4, 5, 6]
    let same = Resample.resized(
      pixels, shape: shape, toWidth: 3, toHeight: 2, filter: .lanczos)
    #expect(same == pixels)
    // The box is taken after the flip: its first column is the last but one of the source.
    let flipped = Resample.resized(
      pixels, shape: shape, box: CropBox(left: 1, top: 0, width: 2, height: 2), isFlipped: true,
      toWidth: 2, toHeight: 2, filter: .bicubic)
    #expect(flipped == [2, 1, 5, 4])
  }

  /// Every weight, also those that come from rotations, and no tap outside.
  @Test(arguments: [ResampleFilter.bicubic, .lanczos])
  func weightsAreThoseOfThePlainFormula(filter: ResampleFilter) {
    let table = ResampleTable()
    for (input, output) in [(28, 32), (150, 224), (400, 112), (3001, 112), (5, 1), (1, 5)] {
      table.fill(
        ResampleAxis(
          inputSize: input, start: 0, length: Double(input), outputSize: output,
          wanted: 0..<output), filter: filter)
      #expect(table.inputs == 0..<input)
      for line in 0..<output {
        let (first, weights) = ReferenceResampler.taps(
          line, inputSize: input, start: 0, length: Double(input), size: output, filter: filter)
        #expect(Int(table.first[line]) == first && Int(table.taps[line]) == weights.count)
        for (tap, weight) in weights.enumerated() {
          let unit = Float(1 << ReferenceResampler.fractionBits)
          let found = table.weights[line * table.tapCount + tap] * unit
          // A libm that rounds `sin` otherwise may move a weight by one unit.
          #expect(abs(found - Float(weight)) <= 1, "\(input) to \(output), \(line), \(tap)")
        }
      }
    }
  }

  // MARK: The middle of an image

  @Test func theShorterSideIsFittedAndTheMiddleCut() {
    #expect(
      Fit(width: 500, height: 375, size: 224, cropShare: 0.875)
        == Fit(
          width: 341, height: 256, window: CropBox(left: 58, top: 16, width: 224, height: 224)))
    // 0.5 pixels go to the even number: 58.5 above, 5.5 here.
    #expect(Fit(width: 20, height: 31, size: 20).window.top == 6)
    #expect(
      Fit(width: 28, height: 28, size: 28)
        == Fit(width: 28, height: 28, window: CropBox(left: 0, top: 0, width: 28, height: 28)))
  }
}

extension CropBox {
  /// Nil for a box with an edge inside pixels.
  fileprivate init?(_ box: SourceBox) {
    let whole = CropBox(
      left: Int(box.left), top: Int(box.top), width: Int(box.width), height: Int(box.height))
    guard SourceBox(whole) == box else { return nil }
    self = whole
  }
}
