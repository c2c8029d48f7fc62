import Artifacts
import Interfaces
import Models
import ShardedData
import TensorCore
import TestSupport
import Testing

@testable import Training

/// What is said of precomputed tokens, and pictures of codes.
@Suite struct TokenizerPictureTests {
  private let folder: TemporaryFolder
  private let pool = ThreadPool(threadCount: 2)

  init() throws { folder = try TemporaryFolder("pictures") }

  private func pack(channels: Int, count: Int = 20) throws -> ShardIndex {
    let images = SyntheticImages(
      count: count, imageShape: ImageShape(height: 40, width: 48, channels: channels), seed: 3)
    let options = PackOptions(format: .raw(size: nil, channels: channels))
    let path = folder.file("shards\(channels)")
    _ = try ShardPacker(images, to: path, name: "images", options: options).packAll()
    return try ShardIndex(paths: [path])
  }

  private func refusal(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "accepted"
    } catch {
      return "\(error)"
    }
  }

  // MARK: Tokens

  @Test func sharesOfTokensAreThoseOfAllPictures() throws {
    let index = try pack(channels: 1)
    let description = TargetDescription(
      .tokens(vocabularySize: 8), grid: 2, views: 3, settings: "crop", source: "t.h5 (0123)",
      pictureSize: 16)
    let writer = try TargetShardWriter(description, of: index.shards[0], in: folder.file("tokens"))
    // Of every picture half the tokens are 5, a quarter 1, a quarter 7: entropy 1.5 ln 2.
    try writer.append((0..<60).flatMap { _ in [5, 0, 1, 0, 5, 0, 7, 0] as [UInt8] })
    try writer.finish()
    let summary = try TokenizerSummary(path: folder.file("tokens"))
    guard case .tokens(let tokens) = summary else {
      Issue.record("\(summary)")
      return
    }
    #expect((tokens.images, tokens.views, tokens.grid) == (20, 3, 2))
    #expect((tokens.vocabularySize, tokens.usedCodes, tokens.largestShare) == (8, 3, 0.5))
    #expect(abs(tokens.perplexity - 2.8284271247) < 1e-9)
    #expect(
      summary.text == """
        20 images x 3 pictures of 2 x 2 tokens in 1 shard
        8 codes; 3 used, perplexity 2.8, commonest token 0.5000
        tokenizer: t.h5 (0123)
        settings: crop
        """)
    let error = #expect(throws: ConfigurationError.self) {
      try TokenizerPicture.draw(folder.file("tokens"), TokenizerPicture.Options())
    }
    #expect(error?.keyPath == "--picture")
  }

  // MARK: k-means

  private func kMeans(
    codes: Int, patchSize: Int, channels: Int, _ value: (Int, Int) -> Float
  ) -> (codebook: Codebook, patches: StandardizedPatches) {
    let count = channels * patchSize * patchSize
    let values = (0..<codes).flatMap { code in (0..<count).map { value(code, $0) } }
    return (
      Codebook(Tensor(values, shape: [codes, count])),
      StandardizedPatches(
        patchSize: patchSize,
        view: ViewSpecification(
          size: 2 * patchSize, filter: .bicubic,
          mean: [Float](repeating: 0, count: channels),
          standardDeviation: [Float](repeating: 1, count: channels)))
    )
  }

  @Test func codebookIsDrawnByFallingShare() throws {
    // Patches of 5 pixels are enlarged three times; each code is of one brightness but for a pixel.
    let (codebook, patches) = kMeans(codes: 5, patchSize: 5, channels: 1) { code, place in
      place == 7 ? 3 : Float(code) / 2 - 1
    }
    let picture = try TokenizerPicture.codebook(
      codebook, of: patches, shares: [0.1, 0.1, 0.4, 0, 0.4])
    #expect((picture.width, picture.height, picture.channels) == (49, 33, 1))
    for (cell, code) in [2, 4, 0, 1, 3].enumerated() {
      let (left, top) = (1 + cell % 3 * 16, 1 + cell / 3 * 16)
      let expected = UInt8(128 + 48 * (Float(code) / 2 - 1))
      for y in 0..<15 {
        for x in 0..<15 {
          let isBright = x / 3 == 2 && y / 3 == 1
          #expect(picture.pixels[(top + y) * 49 + left + x] == (isBright ? 255 : expected))
        }
      }
    }
    #expect(picture.pixels[0] == 255 && picture.pixels[48 * 33] == 255)
    #expect(picture.pixels[(1 + 16) * 49 + 1 + 32] == 255, "no code, no cell")
  }

  @Test func channelsOfAPatchAreItsColours() throws {
    let (codebook, patches) = kMeans(codes: 1, patchSize: 16, channels: 3) { _, place in
      [-1, 0, 1][place / 256] + Float(place % 16) / 48
    }
    let picture = try TokenizerPicture.codebook(codebook, of: patches, shares: [1])
    #expect((picture.width, picture.height, picture.channels) == (18, 18, 3))
    for x in 0..<16 {
      let pixel = 3 * (5 * 18 + 1 + x)
      #expect(
        Array(picture.pixels[pixel..<pixel + 3]) == [80, 128, 176].map { $0 + UInt8(x) })
    }
  }

  @Test func largeCodebooksAreCut() throws {
    let (codebook, patches) = kMeans(codes: 4100, patchSize: 32, channels: 1) { code, _ in
      code == 4099 ? 1 : 0
    }
    var shares = [Float](repeating: 0, count: 4100)
    shares[4099] = 1
    let picture = try TokenizerPicture.codebook(codebook, of: patches, shares: shares)
    #expect((picture.width, picture.height) == (64 * 33 + 1, 64 * 33 + 1))
    #expect(picture.pixels[picture.width + 1] == 176)
    #expect(picture.pixels[picture.width + 34] == 128)
  }

  @Test func otherChannelsAndSharesAreRefused() throws {
    let odd = kMeans(codes: 2, patchSize: 2, channels: 2) { _, _ in 0 }
    #expect(
      refusal { _ = try TokenizerPicture.codebook(odd.codebook, of: odd.patches, shares: [1, 0]) }
        == "--picture: patches of 2 channels cannot be drawn, only those of 1 or 3")
    let path = folder.file("t.h5")
    try TokenizerFile.write(
      KMeansTokenizer(odd.codebook, of: odd.patches), shares: [1], teacher: nil, to: path)
    #expect(
      refusal { _ = try TokenizerPicture.draw(path, TokenizerPicture.Options()) }
        == "\(path): it has shares of 1 codes, but a codebook [2, 8]")
  }

  // MARK: DALL-E

  private func write(
    _ name: String, _ tensors: [(name: String, tensor: Tensor)]
  ) throws -> String {
    let path = folder.file(name)
    if name.hasSuffix(".h5") {
      try ArtifactWriter.write(to: path, tensors: tensors, attributes: [])
    } else {
      try SafetensorsWriter.write(to: path, tensors: tensors)
    }
    return path
  }

  private func encoder() throws -> String {
    try write("encoder.safetensors", DALLEWeights.encoder(hiddenWidth: 8, vocabularySize: 24))
  }

  private func decoderFile(
    _ name: String = "decoder.h5", vocabularySize: Int = 24
  ) throws -> String {
    try write(name, DALLEWeights.decoder(hiddenWidth: 8, vocabularySize: vocabularySize))
  }

  private func decoder() throws -> DALLEDecoder {
    guard case .dalle(let encoder) = try TokenizerFile.contents(of: try self.encoder()) else {
      throw ArtifactError(path: folder.path, reason: "no encoder")
    }
    return try TokenizerFile.decoder(try decoderFile(), of: encoder)
  }

  @Test func everyCodeIsDecodedAlone() throws {
    let decoder = try decoder()
    let pictures = try [decoderFile(), decoderFile("decoder.safetensors")].map { file in
      try TokenizerPicture.draw(try encoder(), TokenizerPicture.Options(decoder: file))
    }
    let picture = pictures[0]
    #expect(pictures[1] == picture)
    #expect((picture.width, picture.height, picture.channels) == (5 * 9 + 1, 5 * 9 + 1, 3))
    for code in 0..<24 {
      let alone = decoder.images(of: [Int32(code)], grid: 1, pool: pool).values
      for place in 0..<192 {
        let (channel, y, x) = (place / 64, place % 64 / 8, place % 8)
        let row = 1 + code / 5 * 9 + y
        let pixel = row * 46 + 1 + code % 5 * 9 + x
        #expect(picture.pixels[3 * pixel + channel] == UInt8((255 * alone[place]).rounded()))
      }
    }
  }

  @Test func imagesStandOverWhatTheirTokensMean() throws {
    let shards = try pack(channels: 3).shards.map(\.path)
    let options = TokenizerPicture.Options(decoder: try decoderFile(), images: shards)
    let picture = try TokenizerPicture.draw(try encoder(), options)
    #expect((picture.width, picture.height) == (8 * 113 + 1, 2 * 113 + 1))
    // The originals: images 0, 2, 5, 7, 10, ... as the loader brings them, in [0, 255].
    let view = ViewSpecification(
      size: 112, filter: .lanczos, mean: [0, 0, 0], standardDeviation: [1, 1, 1])
    let keys = [0, 2, 5, 7, 10, 12, 15, 17].map { SampleKey(epoch: 0, sample: $0) }
    let loader = try BatchLoader(
      index: try ShardIndex(paths: shards), transform: .evaluation([view], cropShare: 0.875),
      options: LoaderOptions(seed: 0)
    ) { $0 == 0 ? keys : nil }
    let images = try #require(try loader.next()).views[0].values
    var largest = 0
    for image in 0..<8 {
      for place in 0..<3 * 112 * 112 {
        let (channel, pixel) = (place / 12544, place % 12544)
        let (x, y) = (1 + image * 113 + pixel % 112, 1 + pixel / 112)
        let drawn = Int(picture.pixels[3 * (y * picture.width + x) + channel])
        let original = Int((255 * images[image * 3 * 12544 + place]).rounded())
        largest = max(largest, abs(drawn - original))
      }
    }
    #expect(largest == 0)
  }

  @Test func reconstructionsAreThoseOfTheTokens() throws {
    let decoder = try decoder()
    let view = ViewSpecification(
      size: 16, filter: .lanczos, mean: [-0.125, -0.125, -0.125],
      standardDeviation: [1.25, 1.25, 1.25])
    var values = TestValues(5)
    let images = values.tensor([2, 3, 16, 16], in: 0.1...0.9)
    func picture(_ tokens: [Int32]) -> Picture {
      TokenizerPicture.reconstructions(
        of: images, view: view, tokens: tokens, decoder, grid: 2, pool: pool)
    }
    let (one, other) = (picture([0, 1, 2, 3, 4, 5, 6, 7]), picture([0, 1, 2, 3, 4, 5, 6, 8]))
    #expect((one.width, one.height) == (35, 35))
    func cell(_ picture: Picture, _ number: Int) -> [UInt8] {
      let (left, top) = (1 + number % 2 * 17, 1 + number / 2 * 17)
      return (0..<16).flatMap { y -> ArraySlice<UInt8> in
        let start = 3 * ((top + y) * 35 + left)
        return picture.pixels[start..<start + 48]
      }
    }
    for number in 0..<3 { #expect(cell(one, number) == cell(other, number)) }
    #expect(cell(one, 3) != cell(other, 3))
    let decoded = decoder.images(of: [0, 1, 2, 3], grid: 2, pool: pool).values
    let expected = (0..<768).map { place in
      UInt8((255 * decoded[place % 3 * 256 + place / 3]).rounded())
    }
    #expect(cell(one, 2) == expected)
    let original = images.values
    for place in 0..<768 {
      let pixel = 255 * (original[place % 3 * 256 + place / 3] - 0.1) / 0.8
      #expect(abs(Float(cell(one, 0)[place]) - pixel) < 0.501)
    }
  }

  @Test func whatDoesNotFitIsSaidInASentence() throws {
    let encoder = try encoder()
    func refusal(_ decoder: String?, _ images: [String] = []) -> String {
      self.refusal {
        _ = try TokenizerPicture.draw(
          encoder, TokenizerPicture.Options(decoder: decoder, images: images))
      }
    }
    #expect(
      refusal(nil) == "--decoder: the codes of the DALL-E encoder \(encoder) are seen through its "
        + "decoder; name that file")
    #expect(refusal("/nowhere").hasPrefix("--decoder: /nowhere"))
    #expect(refusal(encoder).hasPrefix("--decoder: blocks.input.w is [8, 3, 7, 7], not ["))
    let other = try decoderFile("other.h5", vocabularySize: 25)
    #expect(
      refusal(other)
        == "--decoder: \(other) is for 25 tokens of 8 pixels, the encoder makes 24 of 8")
    let gray = try pack(channels: 1).shards[0].path
    #expect(
      refusal(try decoderFile(), [gray])
        == "--images: \(gray) has images of 1 channels, the tokenizer is for 3")
    #expect(refusal(try decoderFile(), ["/nowhere"]).contains("There is no data at /nowhere"))
  }
}
