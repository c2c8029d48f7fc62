import JPEGCodec
import PNGCodec
import TensorCore
import Testing

@testable import ShardedData

@Suite struct JPEGCodecTests {
  private let parts = [
    "part-444", "part-422", "part-420", "part-440", "part-411", "part-gray", "part-restart",
    "part-cmyk", "part-progressive-444", "part-progressive-422", "part-progressive-420",
  ]

  /// Whatever part of a picture is decoded, its pixels are those of the whole.
  @Test(arguments: [1, 2, 4, 8])
  func partsEqualTheWhole(denominator: Int) throws {
    let decoder = JPEGDecoder()
    var random = CounterRandom(seed: UInt64(denominator), stream: .synthetic)
    for name in parts {
      let file = try DecoderFixtures.file(name)
      for isGray in [false, true] {
        let header = try file.withUnsafeBytes { try decoder.header(of: $0) }
        let whole = try decode(file, decoder, nil, denominator, isGray)
        #expect(whole.region.left == 0 && whole.region.top == 0)
        for _ in 0..<60 {
          let box = random.box(width: header.width, height: header.height)
          let region = JPEGRegion(
            left: box.left, top: box.top, width: box.width, height: box.height)
          let part = try decode(file, decoder, region, denominator, isGray)
          let place = part.region
          let (right, bottom) = (region.left + region.width, region.top + region.height)
          #expect(place.left == region.left / denominator)
          #expect(place.top == region.top / denominator)
          #expect((place.left + place.width - 1) * denominator < right)
          #expect((place.left + place.width) * denominator >= right)
          #expect((place.top + place.height) * denominator >= bottom)
          let expected = whole.pixels.part(
            left: place.left, top: place.top, width: place.width, height: place.height)
          #expect(part.pixels == expected, "\(name) 1/\(denominator) \(region)")
        }
      }
    }
  }

  private func decode(
    _ file: [UInt8], _ decoder: JPEGDecoder, _ region: JPEGRegion?, _ denominator: Int,
    _ isGray: Bool
  ) throws -> (region: JPEGRegion, pixels: DecoderFixtures.Pixels) {
    try file.withUnsafeBytes { bytes in
      let pixels = try decoder.decode(
        bytes, region: region, denominator: denominator, isGray: isGray)
      return (pixels.region, DecoderFixtures.Pixels(pixels))
    }
  }

  @Test(arguments: [2, 4, 8])
  func reducedPicturesAreThoseOfPillow(denominator: Int) throws {
    let file = try DecoderFixtures.file("part-420")
    let decoder = JPEGDecoder()
    let colour = try decode(file, decoder, nil, denominator, false).pixels
    #expect(colour == (try DecoderFixtures.pixels("part-420-reduced-\(denominator)")))
    let gray = try decode(file, decoder, nil, denominator, true).pixels
    #expect(gray == (try DecoderFixtures.pixels("part-420-gray-\(denominator)")))
  }

  @Test func headersSayWhatIsInTheFile() throws {
    let decoder = JPEGDecoder()
    func header(_ name: String) throws -> JPEGHeader {
      try DecoderFixtures.file(name).withUnsafeBytes { try decoder.header(of: $0) }
    }
    let progressive = try header("part-progressive-420")
    #expect(progressive.width == 131 && progressive.height == 99)
    #expect(progressive.components == 3 && progressive.isProgressive)
    #expect(try header("gray").components == 1)
    #expect(try !header("cmyk").isProgressive)
    #expect(try header("cmyk").components == 4)
    for orientation in 1...8 {
      #expect(try header("orientation-\(orientation)").orientation == orientation)
    }
    #expect(try header("orientation-9").orientation == 1)
    #expect(try header("420").orientation == 1)
  }

  /// Pillow's file of the same pixels has the same picture.
  @Test func encoderGivesWhatPillowGives() throws {
    let decoder = JPEGDecoder()
    let pixels = try DecoderFixtures.pixels("encoder-pixels")
    let expected = try decode(try DecoderFixtures.file("encoder"), decoder, nil, 1, false)
    let padded = (0..<pixels.width * pixels.height).flatMap { pixel -> [UInt8] in
      Array(pixels.values[pixel * 3..<pixel * 3 + 3]) + [77]
    }
    for (values, stride) in [(pixels.values, 3), (padded, 4)] {
      let file = try JPEGEncoder.encode(
        values, width: pixels.width, height: pixels.height, pixelStride: stride, quality: 83)
      #expect(try decode(file, decoder, nil, 1, false).pixels == expected.pixels)
    }
  }

  @Test func encodedGrayIsNearTheSource() throws {
    let pixels = (0..<30).flatMap { row in (0..<40).map { UInt8(100 + row + $0) } }
    let file = try JPEGEncoder.encode(
      pixels, width: 40, height: 30, pixelStride: 1, quality: 95)
    let decoder = JPEGDecoder()
    #expect(try file.withUnsafeBytes { try decoder.header(of: $0) }.components == 1)
    let result = try decode(file, decoder, nil, 1, true).pixels
    let source = DecoderFixtures.Pixels(width: 40, height: 30, channels: 1, values: pixels)
    #expect(try #require(result.difference(from: source)) <= 4)
  }

  @Test func impossibleSizesAreNotEncoded() throws {
    let text = try #require(
      description {
        _ = try JPEGEncoder.encode([0], width: 70_000, height: 1, pixelStride: 1, quality: 90)
      })
    #expect(text.contains("70000 x 1"))
  }

  @Test func bothFormatsAllowTheSameSize() {
    #expect(JPEGDecoder.maximumPixels == PNGImage.maximumPixels)
  }

  /// Nothing of a picture serves to decode the next: a file without tables stays an error or
  /// stays readable, whatever came before it.
  @Test func picturesDoNotDependOnTheOneBefore() throws {
    let file = try DecoderFixtures.file("420")
    let start = try #require(file.firstRange(of: [0xff, 0xdb])?.lowerBound)
    let length = Int(file[start + 2]) << 8 | Int(file[start + 3])
    var stripped = file
    stripped.removeSubrange(start..<start + 2 + length)
    let used = JPEGDecoder()
    _ = try decode(file, used, nil, 1, false)
    for decoder in [used, JPEGDecoder()] {
      let text = try #require(description { _ = try decode(stripped, decoder, nil, 1, false) })
      #expect(text.contains("uantization table"), "\(text)")
    }
  }

  @Test func endlessScansAreRefused() throws {
    let file = try DecoderFixtures.file("part-progressive-420")
    let scan = try #require(file.firstRange(of: [0xff, 0xda])?.lowerBound)
    let end = try #require(
      file.indices.first { $0 > scan && file[$0] == 0xff && file[$0 + 1] != 0 })
    func repeated(_ count: Int) -> [UInt8] {
      let scans = repeatElement(file[scan..<end], count: count).joined()
      return Array(file[0..<scan]) + Array(scans) + Array(file[end...])
    }
    let decoder = JPEGDecoder()
    let once = try decode(file, decoder, nil, 1, false)
    #expect(try decode(repeated(50), decoder, nil, 1, false) == once)
    let text = try #require(description { _ = try decode(repeated(501), decoder, nil, 1, false) })
    #expect(text.contains("more than the 500 scans"), "\(text)")
  }
}
