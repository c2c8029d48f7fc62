import Artifacts
import Files
import Foundation
import TestSupport
import Testing

/// `tokenizer inspect` on tokenizers and on precomputed tokens, with pictures.
@Suite(.serialized, .enabled(if: Program.isBuilt, Program.whyNot))
struct TokenizerInspectTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private var picture: String { tiny.folder.file("picture.png") }

  private func encode() throws -> String {
    let tokens = tiny.folder.file("tokens")
    let ended = try Program.run([
      "tokenizer", "encode", "--config", tiny.configuration, "--set", "data.fixedViews=2",
      "--targets", tokens,
    ])
    try #require(ended.code == 0, "\(ended)")
    return tokens
  }

  private func inspect(_ arguments: String...) throws -> Ended {
    try Program.run(["tokenizer", "inspect"] + arguments, within: 20)
  }

  /// Width and height as they stand at the beginning of a PNG file.
  private func size(ofPNG path: String) throws -> [Int] {
    let bytes = try Files.read(path)
    try #require(bytes.starts(with: [0x89, 0x50, 0x4E, 0x47]) && bytes.count > 24)
    return [16, 20].map { start in bytes[start..<start + 4].reduce(0) { $0 << 8 | Int($1) } }
  }

  private func dalle() throws -> (encoder: String, decoder: String) {
    let files = (
      tiny.folder.file("encoder.safetensors"), tiny.folder.file("decoder.safetensors")
    )
    try SafetensorsWriter.write(
      to: files.0, tensors: DALLEWeights.encoder(hiddenWidth: 8, vocabularySize: 24))
    try SafetensorsWriter.write(
      to: files.1, tensors: DALLEWeights.decoder(hiddenWidth: 8, vocabularySize: 24))
    return files
  }

  // MARK: Good input

  @Test func tokensAreSummedUp() throws {
    let tokens = try encode()
    let ended = try inspect(tokens)
    #expect(ended.code == 0, "\(ended)")
    let lines = ended.standardOutput.split(separator: "\n")
    #expect(lines.first == "96 images x 2 pictures of 4 x 4 tokens in 3 shards")
    #expect(lines.count == 4 && lines[1].hasPrefix("32 codes; "), "\(ended)")
    #expect(lines[2].hasPrefix("tokenizer: tokenizer.h5 ("), "\(ended)")

    let json = try inspect(tokens, "--json")
    let object = try JSONSerialization.jsonObject(with: Data(json.standardOutput.utf8))
    let fields = try #require(object as? [String: Any])
    #expect(
      Set(fields.keys) == [
        "kind", "images", "views", "grid", "vocabularySize", "usedCodes", "largestShare",
        "perplexity", "settings", "tokenizer", "shards", "missingShards",
      ])
    #expect(fields["kind"] as? String == "tokens" && fields["images"] as? Int == 96)
    let perplexity = try #require(fields["perplexity"] as? Double)
    let used = try #require(fields["usedCodes"] as? Int)
    #expect(perplexity > 1 && perplexity <= Double(used) && used <= 32)

    let one = try inspect("\(tokens)/\(try Files.list(tokens)[0])")
    #expect(
      one.standardOutput.contains(" tokens in 1 shard, 2 more not encoded yet\n"), "\(one)")
  }

  @Test func codebookIsDrawn() throws {
    let ended = try inspect(tiny.tokenizer, "--picture", picture)
    #expect(ended.code == 0, "\(ended)")
    #expect(ended.standardOutput.hasPrefix("32 codes for 4 x 4 patches"), "\(ended)")
    #expect(try size(ofPNG: picture) == [6 * 17 + 1, 6 * 17 + 1])
  }

  @Test func codesOfTheEncoderAreDrawn() throws {
    let (encoder, decoder) = try dalle()
    let ended = try inspect(encoder, "--picture", picture, "--decoder", decoder, "--json")
    #expect(ended.code == 0, "\(ended)")
    #expect(try size(ofPNG: picture) == [5 * 9 + 1, 5 * 9 + 1])
  }

  // MARK: Bad input

  @Test func picturesWithoutWhatTheyNeedAreWrongUsage() throws {
    for arguments in [
      ["--decoder", "d.h5"], ["--images", tiny.train],
      ["--picture", picture, "--images", tiny.train],
    ] {
      let ended = try Program.run(["tokenizer", "inspect", tiny.tokenizer] + arguments)
      #expect(ended.code == 64, "\(ended)")
      #expect(ended.errorLines.first?.hasPrefix("Error: ") == true, "\(ended)")
      #expect(ended.errorLines.first?.contains("; name it with --") == true, "\(ended)")
    }
    #expect(!Files.exists(picture))
  }

  @Test func badInputIsOneSentence() throws {
    let tokens = try encode()
    let (encoder, decoder) = try dalle()
    let empty = tiny.folder.file("empty")
    try Files.makeDirectory(empty)
    let cut = "\(tokens)/\(try Files.list(tokens)[1])"
    let inputs: [(arguments: [String], word: String)] = [
      ([tokens, "--picture", picture], "holds precomputed targets"), ([empty], "tokenizer encode"),
      ([tiny.train], "it does not hold any"), ([tiny.configuration], tiny.configuration),
      ([encoder, "--picture", picture], "--decoder: the codes"),
      ([tiny.tokenizer, "--picture", picture, "--decoder", decoder], "leave it out"),
      (
        [encoder, "--picture", picture, "--decoder", decoder, "--images", tiny.train],
        "--images: "
      ),
      ([encoder, "--picture", picture, "--decoder", tiny.tokenizer], "--decoder: blocks.input.w"),
    ]
    func check(_ arguments: [String], _ word: String, code: Int32 = 65) throws {
      let ended = try Program.run(["tokenizer", "inspect"] + arguments, within: 20)
      #expect(ended.code == code, "\(ended)")
      #expect(ended.errorLines.count == 1, "\(ended)")
      #expect(ended.standardError.hasPrefix("cae-dist: "), "\(ended)")
      #expect(ended.standardError.contains(word), "\(ended)")
      #expect(ended.standardOutput.isEmpty, "\(ended)")
    }
    for (arguments, word) in inputs { try check(arguments, word) }
    try check([tiny.tokenizer, "--picture", "/nowhere/p.png"], "/nowhere/p.png", code: 74)
    #expect(!Files.exists(picture))
    try Files.truncate(cut, toSize: try Files.size(of: cut) / 2)
    try check([tokens], "the file is truncated")
    try check([cut], "the file is truncated")
  }
}
