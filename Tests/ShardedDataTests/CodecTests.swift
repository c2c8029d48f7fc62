import Files
import PNGCodec
import Testing
import ZlibCodec

@Suite struct CodecTests {
  /// "hello hello hello\n" by gzip.
  private let compressed: [UInt8] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57,
    0xc8, 0x40, 0x90, 0x5c, 0x00, 0x3b, 0x7c, 0x8a, 0xdf, 0x12, 0x00, 0x00, 0x00,
  ]

  @Test func plainAndCompressedFilesReadTheSame() throws {
    let folder = try ScratchFolder()
    let text = Array("hello hello hello\n".utf8)
    try Files.write(text, to: folder.file("plain"))
    try Files.write(compressed, to: folder.file("text.gz"))
    #expect(try GzipFile.read(path: folder.file("plain")) == text)
    #expect(try GzipFile.read(path: folder.file("text.gz")) == text)
  }

  @Test func damagedStreamsAreErrorsThatNameTheFile() throws {
    let folder = try ScratchFolder()
    let path = folder.file("text.gz")
    for length in 11..<compressed.count {
      try Files.write(Array(compressed[0..<length]), to: path)
      let text = try #require(description { _ = try GzipFile.read(path: path) })
      #expect(text.contains(path) && text.contains("ends early"), "\(length): \(text)")
    }
    var wrong = compressed
    wrong[21] ^= 0xff
    try Files.write(wrong, to: path)
    let text = try #require(description { _ = try GzipFile.read(path: path) })
    #expect(text.contains(path) && text.contains("damaged"))
    let missing = try #require(description { _ = try GzipFile.read(path: folder.file("none")) })
    #expect(missing.contains("none: No such file"))
  }

  @Test(arguments: [PNGChannels.gray, .rgb])
  func picturesSurviveAFile(channels: PNGChannels) throws {
    let folder = try ScratchFolder()
    let pixels = (0..<7 * 5 * channels.rawValue).map { UInt8(truncatingIfNeeded: $0 * 37) }
    let picture = PNGImage(width: 7, height: 5, channels: channels, pixels: pixels)
    let path = folder.file("picture.png")
    try picture.write(path: path)
    #expect(try PNGImage(path: path) == picture)
    #expect(try PNGImage(bytes: try Files.read(path), name: "bytes") == picture)
    #expect(try PNGImage(path: path, channels: .rgb).channels == 3)
    #expect(try PNGImage(path: path, channels: .gray).channels == 1)
  }

  @Test func cutOffAndForeignPicturesAreErrorsThatNameTheFile() throws {
    let folder = try ScratchFolder()
    let path = folder.file("picture.png")
    let pixels = (0..<64 * 64).map { UInt8(truncatingIfNeeded: $0 &* $0 / 7) }
    try PNGImage(width: 64, height: 64, channels: .gray, pixels: pixels).write(path: path)
    let bytes = try Files.read(path)
    for length in [0, 8, 30, bytes.count / 2, bytes.count - 20] {
      try Files.write(Array(bytes[0..<length]), to: path)
      let text = try #require(description { _ = try PNGImage(path: path) }, "\(length) bytes")
      #expect(text.contains(path))
    }
    var wrong = bytes
    wrong[bytes.count / 2] ^= 1
    let text = try #require(description { _ = try PNGImage(bytes: wrong, name: "that one") })
    #expect(text.contains("that one"))
    let unwritable = try #require(
      description {
        try PNGImage(width: 1, height: 1, channels: .gray, pixels: [0]).write(path: "/no/x.png")
      })
    #expect(unwritable.contains("Cannot write the PNG /no/x.png"))
  }

  /// Signature and end are the same in all; the pictures have 2 x 1 pixels.
  private func picture(hexadecimal: String) -> [UInt8] {
    let digits = hexadecimal.compactMap(\.hexDigitValue)
    let chunks = stride(from: 0, to: digits.count, by: 2).map {
      UInt8(digits[$0] * 16 + digits[$0 + 1])
    }
    return [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] + chunks
      + [0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82]
  }

  @Test func everyKindOfPictureBecomesEightBits() throws {
    let rgba = picture(
      hexadecimal:
        "0000000d4948445200000002000000010806000000f4227f8a0000000f4944415478da"
        + "63e0e4606700e2ff0001fc01304f8aa0e9")
    let gray16 = picture(
      hexadecimal:
        "0000000d494844520000000200000001100000000081d9fc150000000d4944415478da"
        + "6368687070000004450181c299b0af")
    let palette = picture(
      hexadecimal:
        "0000000d4948445200000002000000010803000000c3fc8fb800000006504c54450102"
        + "03fafbfcfd5ee6a30000000b4944415478da63606400000005000242c2449f")
    // A transparent pixel is white, an opaque one keeps its colour.
    #expect(try PNGImage(bytes: rgba, name: "").pixels == [255, 255, 255, 9, 8, 7])
    #expect(try PNGImage(bytes: gray16, name: "").pixels == [0x80, 0x40])
    #expect(try PNGImage(bytes: palette, name: "").pixels == [250, 251, 252, 1, 2, 3])
  }

  @Test func absurdSizesAreRefused() throws {
    // Only the header, of a picture of 100,000 x 100,000; its checksum is right.
    let header: [UInt8] = [
      0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52, 0, 1,
      0x86, 0xa0, 0, 1, 0x86, 0xa0, 8, 0, 0, 0, 0,
    ]
    let picture = header + bigEndian(crc32(header[12...])) + [0, 0, 0, 0, 0x49, 0x44, 0x41, 0x54]
    let text = try #require(description { _ = try PNGImage(bytes: picture, name: "huge.png") })
    #expect(text.contains("huge.png") && text.contains("100000 x 100000"), "\(text)")
  }

  private func bigEndian(_ value: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
  }

  private func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    ~bytes.reduce(~0 as UInt32) { crc, byte in
      (0..<8).reduce(crc ^ UInt32(byte)) { value, _ in
        value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1
      }
    }
  }
}
