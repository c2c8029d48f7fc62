import Glibc
import TensorCore
import Testing

@testable import ShardedData

/// What damaged and hostile files do: they decode or are errors, soon and without much memory.
@Suite struct ImageDamageTests {
  private static let pngSignature: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
  /// Of the thread, which others on the machine do not lengthen.
  private static let secondsAllowed = 2.0

  private enum Damage: Int, CaseIterable {
    case cutOff
    case flippedBits
    case wrongHeader
    case wrongSize
    case zeros
    case foreignSignature
  }

  @Test func threeHundredDamagedFilesNeverCrash() throws {
    let names = try DecoderFixtures.names()
    var random = CounterRandom(seed: 300, stream: .synthetic)
    let decoders = [ImageDecoder(channels: 3), ImageDecoder(channels: 1)]
    var errors = 0
    for index in 0..<300 {
      let name = names[random.integer(below: names.count)]
      let kind = Damage.allCases[index % Damage.allCases.count]
      let file = damaged(try DecoderFixtures.file(name), kind, &random)
      let start = threadSeconds()
      for decoder in decoders {
        let text = description { try file.withUnsafeBytes { try use($0, decoder) } }
        errors += text == nil ? 0 : 1
        #expect(text?.contains("picture: .") != true, "an error without a reason")
      }
      #expect(threadSeconds() - start < Self.secondsAllowed, "\(index): \(name) \(kind)")
    }
    // Some damage is harmless, as where a flipped bit changes a colour.
    #expect(errors > 300 && errors < 600, "\(errors) errors")
  }

  private func use(_ bytes: UnsafeRawBufferPointer, _ decoder: ImageDecoder) throws {
    let size = try decoder.size(of: bytes)
    let box = CropBox(
      left: size.width / 3, top: size.height / 3, width: size.width - size.width / 3,
      height: size.height - size.height / 3)
    // Parts that need less than the whole come first: they may be all right where it is not.
    for needed in [(1, 1), (64, 64)] {
      try checkPixels(try decoder.decode(bytes, box: box, needed: needed))
    }
    try checkPixels(try decoder.decode(bytes))
  }

  /// Reads all that the decoder says is there.
  private func checkPixels(_ region: DecodedRegion) throws {
    let pixels = region.pixels
    let sum = (0..<pixels.height * pixels.rowStride).reduce(0) { $0 + Int(pixels.pointer[$1]) }
    #expect(sum <= 255 * pixels.height * pixels.rowStride)
    #expect(region.box.left + region.box.width <= Double(pixels.width))
    #expect(region.box.top + region.box.height <= Double(pixels.height))
  }

  private func damaged(
    _ file: [UInt8], _ kind: Damage, _ random: inout CounterRandom
  ) -> [UInt8] {
    var result = file
    switch kind {
    case .cutOff:
      result = Array(file[0..<random.integer(below: file.count)])
    case .flippedBits:
      for _ in 0...random.integer(below: 4) {
        result[random.integer(below: file.count)] ^= 1 << UInt8(random.integer(below: 8))
      }
    case .wrongHeader:
      let first = random.integer(below: min(file.count - 8, 300))
      for place in first..<first + 8 { result[place] = UInt8(random.integer(below: 256)) }
    case .wrongSize:
      let sizes = [0, 1, 17, 9_999, 30_000, 65_500, 65_535]
      result = resized(
        file, width: sizes[random.integer(below: sizes.count)],
        height: sizes[random.integer(below: sizes.count)])
    case .zeros:
      let first = random.integer(below: file.count)
      for place in first..<min(first + 1 + random.integer(below: 200), file.count) {
        result[place] = 0
      }
    case .foreignSignature:
      let isPNG = file.starts(with: Self.pngSignature)
      let signature = isPNG ? [0xff, 0xd8, 0xff, 0xe0] : Self.pngSignature
      result.replaceSubrange(0..<signature.count, with: signature)
    }
    return result
  }

  /// A file whose header claims another size, with the right checksum if it is a PNG.
  private func resized(_ file: [UInt8], width: Int, height: Int) -> [UInt8] {
    var result = file
    if file.starts(with: Self.pngSignature) {
      result.replaceSubrange(16..<24, with: bytes(width, 4) + bytes(height, 4))
      result.replaceSubrange(29..<33, with: bytes(crc32(result[12..<29]), 4))
    } else if let frame = startOfFrame(file) {
      result.replaceSubrange(frame + 5..<frame + 9, with: bytes(height, 2) + bytes(width, 2))
    }
    return result
  }

  private func bytes(_ value: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * (count - 1 - $0))) }
  }

  private func crc32(_ bytes: ArraySlice<UInt8>) -> Int {
    let crc = bytes.reduce(~0 as UInt32) { crc, byte in
      (0..<8).reduce(crc ^ UInt32(byte)) { value, _ in
        value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1
      }
    }
    return Int(~crc)
  }

  /// Where the marker SOF0 or SOF2 stands.
  private func startOfFrame(_ file: [UInt8]) -> Int? { marker([0xc0, 0xc2], file) }

  /// Where the first of some markers stands, found by going from segment to segment.
  private func marker(_ kinds: [UInt8], _ file: [UInt8]) -> Int? {
    var place = 2
    while place + 4 < file.count {
      if kinds.contains(file[place + 1]) { return place }
      place += 2 + Int(file[place + 2]) << 8 + Int(file[place + 3])
    }
    return nil
  }

  private func threadSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  @Test func absurdSizesAreRefusedBeforeAnythingIsAllocated() throws {
    let decoder = ImageDecoder(channels: 3)
    for name in ["420", "progressive", "png-colour", "png-interlaced"] {
      let file = resized(try DecoderFixtures.file(name), width: 65_500, height: 65_500)
      for text in [
        description { try file.withUnsafeBytes { _ = try decoder.size(of: $0) } },
        description { try file.withUnsafeBytes { _ = try decoder.decode($0) } },
      ] {
        #expect(text?.contains("65500 x 65500 pixels are more than the 100000000") == true)
      }
      let empty = resized(try DecoderFixtures.file(name), width: 0, height: 0)
      let text = description { try empty.withUnsafeBytes { _ = try decoder.size(of: $0) } }
      #expect(text != nil, "\(name)")
    }
  }

  /// Even where only the end marker is missing: the library asks for more bits than it needs.
  @Test func filesCutOffInThePixelsAreErrors() throws {
    let decoder = ImageDecoder(channels: 3)
    for name in try DecoderFixtures.names() {
      let file = try DecoderFixtures.file(name)
      let isPNG = file.starts(with: Self.pngSignature)
      let first = isPNG ? 33 : try #require(marker([0xda], file))
      // After the pixels of a PNG: a checksum of zlib, one of the chunk, and the chunk IEND.
      let last = file.count - (isPNG ? 25 : 1)
      let cuts = Array(stride(from: first, through: last, by: 11)) + [last - 2, last - 1, last]
      for cut in cuts {
        let text = file[0..<cut].withUnsafeBytes { bytes in
          description { _ = try decoder.decode(bytes) }
        }
        #expect(text != nil, "\(name) cut off at \(cut) of \(file.count)")
      }
      if name == "420" {
        let text = file[0..<file.count / 2].withUnsafeBytes { bytes in
          description { _ = try decoder.decode(bytes) }
        }
        #expect(text?.contains("the JPEG data is damaged or cut off: ") == true)
      }
    }
  }

  @Test func hostileOrientationsAreOne() throws {
    let file = try DecoderFixtures.file("orientation-5")
    let start = try #require(file.firstRange(of: Array("Exif".utf8))?.lowerBound)
    let decoder = ImageDecoder(channels: 3)
    var random = CounterRandom(seed: 5, stream: .synthetic)
    for _ in 0..<400 {
      var damaged = file
      // The TIFF structure with its offsets, counts and types.
      for _ in 0..<3 {
        damaged[start + 6 + random.integer(below: 38)] =
          [0, 1, 0x7f, 0xff][random.integer(below: 4)]
      }
      let size = try damaged.withUnsafeBytes { try decoder.size(of: $0) }
      #expect(size == (19, 13) || size == (13, 19))
    }
  }
}
