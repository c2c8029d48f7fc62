import TensorCore
import Testing

@testable import ShardedData

@Suite struct ImageDecoderTests {
  /// JPEG is equal to the bit: Pillow decodes with the same library. So is PNG, but for what is
  /// partly transparent, which the file here are not.
  @Test func agreesWithPillow() throws {
    var count = 0
    for name in try DecoderFixtures.names() where try DecoderFixtures.hasPixels(name) {
      let expected = try DecoderFixtures.pixels("\(name)-expected")
      let file = try DecoderFixtures.file(name)
      let decoder = ImageDecoder(channels: expected.channels)
      let size = try file.withUnsafeBytes { try decoder.size(of: $0) }
      #expect(size.width == expected.width && size.height == expected.height, "\(name)")
      let pixels = try decode(file, decoder)
      #expect(pixels == expected, "\(name): \(pixels.difference(from: expected) ?? -1)")
      count += 1
    }
    #expect(count == 29)
  }

  private func decode(_ file: [UInt8], _ decoder: ImageDecoder) throws -> DecoderFixtures.Pixels {
    try file.withUnsafeBytes { bytes in
      let region = try decoder.decode(bytes)
      #expect(
        region.box
          == SourceBox(
            left: 0, top: 0, width: Double(region.pixels.width),
            height: Double(region.pixels.height)))
      return DecoderFixtures.Pixels(region.pixels)
    }
  }

  /// Gray from colour and colour from gray, in every format.
  @Test func picturesAreConverted() throws {
    let names = ["420", "gray", "cmyk", "rgb", "png-colour", "png-gray", "png-palette"]
    for name in names {
      let file = try DecoderFixtures.file(name)
      let colour = try decode(file, ImageDecoder(channels: 3))
      let gray = try decode(file, ImageDecoder(channels: 1))
      #expect(colour.channels == 3 && gray.channels == 1)
      for pixel in 0..<colour.width * colour.height {
        let rgb = colour.values[pixel * 3..<pixel * 3 + 3].map { Double($0) }
        let luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
        if name.contains("gray") {
          #expect(Set(rgb).count == 1 && rgb[0] == Double(gray.values[pixel]), "\(name)")
        } else if !name.contains("png") {
          // Colours outside of the cube were clipped before; PNG mixes linear light.
          let isClipped = rgb.contains(0) || rgb.contains(255)
          #expect(isClipped || abs(luma - Double(gray.values[pixel])) <= 1.5, "\(name)")
        }
      }
    }
  }

  @Test(arguments: 1...8)
  func boxesOfTurnedPicturesAreThoseOfTheWhole(orientation: Int) throws {
    let file = try DecoderFixtures.file("orientation-\(orientation)")
    let whole = try decode(file, ImageDecoder(channels: 3))
    let decoder = ImageDecoder(channels: 3)
    var random = CounterRandom(seed: UInt64(orientation), stream: .synthetic)
    for _ in 0..<40 {
      let box = random.box(width: whole.width, height: whole.height)
      try file.withUnsafeBytes { bytes in
        let decoded = try decoder.decode(bytes, box: box)
        let place = decoded.box
        let part = DecoderFixtures.Pixels(decoded.pixels).part(
          left: Int(place.left), top: Int(place.top), width: Int(place.width),
          height: Int(place.height))
        let expected = whole.part(
          left: box.left, top: box.top, width: box.width, height: box.height)
        #expect(part == expected, "\(box)")
      }
    }
  }

  /// Where a box lies in a turned picture of reduced size: a point of it keeps its colour.
  @Test(arguments: 1...8)
  func reducedBoxesLieWhereTheyShould(exif: Int) {
    let orientation = ImageOrientation(exif: exif)
    let (width, height, denominator) = (83, 59, 4)
    let seen = orientation.size(width, height)
    var random = CounterRandom(seed: UInt64(exif), stream: .synthetic)
    for _ in 0..<50 {
      let box = random.box(width: seen.width, height: seen.height)
      let stored = orientation.stored(box, width: width, height: height)
      #expect(stored.left >= 0 && stored.top >= 0)
      #expect(stored.left + stored.width <= width && stored.top + stored.height <= height)
      // The decoder's reduced region, in full pixels: grown to whole blocks.
      let left = stored.left / denominator * denominator
      let top = stored.top / denominator * denominator
      let blocks = (
        width: (stored.left + stored.width + 3) / denominator - left / denominator,
        height: (stored.top + stored.height + 3) / denominator - top / denominator
      )
      let scale = Double(denominator)
      let place = orientation.seen(
        SourceBox(
          left: Double(stored.left - left) / scale, top: Double(stored.top - top) / scale,
          width: Double(stored.width) / scale, height: Double(stored.height) / scale),
        width: blocks.width, height: blocks.height)
      let turned = orientation.size(blocks.width, blocks.height)
      #expect(place.width == Double(box.width) / scale)
      #expect(place.height == Double(box.height) / scale)
      #expect(place.left >= 0 && place.left + place.width <= Double(turned.width))
      #expect(place.top >= 0 && place.top + place.height <= Double(turned.height))
    }
  }

  @Test func reducesWhereTwiceTheNeededSizeRemains() throws {
    let box = CropBox(left: 1, top: 2, width: 800, height: 450)
    let cases: [(needed: (width: Int, height: Int)?, denominator: Int)] = [
      (nil, 1), ((224, 224), 1), ((225, 225), 1), ((112, 112), 2), ((112, 113), 1), ((50, 50), 4),
      ((56, 57), 2), ((28, 28), 8), ((51, 28), 4), ((1, 1), 8),
    ]
    for (needed, denominator) in cases {
      #expect(ImageDecoder.denominator(box, needed: needed) == denominator, "\(needed as Any)")
    }
    let file = try DecoderFixtures.file("part-420")
    let decoder = ImageDecoder(channels: 3)
    try file.withUnsafeBytes { bytes in
      let region = try decoder.decode(
        bytes, box: CropBox(left: 5, top: 7, width: 101, height: 81), needed: (20, 20))
      #expect(region.box == SourceBox(left: 0.5, top: 0.5, width: 50.5, height: 40.5))
      #expect(region.pixels.width == 51 && region.pixels.height == 41)
      #expect(region.pixels.channels == 3 && region.pixels.pixelStride == 4)
    }
  }

  @Test func foreignFilesAreNamed() {
    let cases: [(bytes: [UInt8], text: String)] = [
      ([], "it is empty"), (Array("GIF89a".utf8), "GIF"), (Array("BM1234".utf8), "BMP"),
      (Array("RIFF1234WEBPVP8 ".utf8), "WebP file; convert it to JPEG or PNG"),
      ([0x49, 0x49, 42, 0, 8], "TIFF"), (Array("RIFF1234WAVE".utf8), "52 49 46 46"),
      ([0x0a, 0xff], "begins with the bytes 0a ff and is neither JPEG nor PNG"),
    ]
    for (bytes, expected) in cases {
      let text = description {
        try bytes.withUnsafeBytes { _ = try ImageDecoder(channels: 3).decode($0) }
      }
      #expect(text?.contains(expected) == true, "\(text ?? "decoded")")
    }
  }

  @Test func namesOfPicturesAreKnown() {
    for name in ["a.jpg", "b.JPEG", "c.Png", "x.y.jpg"] { #expect(ImageFile.isImageName(name)) }
    for name in ["a.gif", "jpg", ".png", "a.jpg.txt", ""] {
      #expect(!ImageFile.isImageName(name), "\(name)")
    }
  }
}
