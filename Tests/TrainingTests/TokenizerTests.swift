import Artifacts
import DataParallel
import Files
import Interfaces
import Models
import ShardedData
import TensorCore
import TestSupport
import Testing

@testable import Training

@Suite struct TokenizerTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  // MARK: Fit

  private func fit(ranks: Int, iterations: Int = 3, seed: Int = 7) throws -> [[UInt32]] {
    try ThreadProcessGroup.run(count: ranks) { group in
      let resolved = try tiny.resolve(TinyRun.Options(set: ["run.seed=\(seed)"]))
      let outcome = try TokenizerFit(
        resolved.training, TokenizerFit.Options(vocabularySize: 12, iterations: iterations),
        group: group, cores: 1
      ).run { _, _ in }
      #expect(abs(outcome.shares.reduce(0, +) - 1) < 1e-9)
      return outcome.tokenizer.codebook.vectors.values.map(\.bitPattern)
    }
  }

  @Test func codebookDoesNotDependOnTheRanks() throws {
    let alone = try fit(ranks: 1)[0]
    #expect(alone.count == 12 * 16)
    for ranks in [2, 3] {
      for codebook in try fit(ranks: ranks) { #expect(codebook == alone, "\(ranks) ranks") }
    }
  }

  @Test func codebookDependsOnSeedAndIterations() throws {
    let codebooks = [
      try fit(ranks: 1)[0], try fit(ranks: 1, seed: 8)[0], try fit(ranks: 1, iterations: 4)[0],
    ]
    #expect(Set(codebooks).count == 3)
  }

  @Test(arguments: [(1, 3), (0, 3), (65_537, 3), (12, 0)])
  func impossibleSizesAreRefused(vocabularySize: Int, iterations: Int) throws {
    let resolved = try tiny.resolve()
    let error = #expect(throws: ConfigurationError.self) {
      try TokenizerFit(
        resolved.training,
        TokenizerFit.Options(vocabularySize: vocabularySize, iterations: iterations),
        group: SingleProcessGroup(), cores: 1)
    }
    #expect(error?.keyPath == (iterations == 0 ? "--iterations" : "--vocabulary"))
  }

  @Test func fittedTokenizerTrains() throws {
    let resolved = try tiny.resolve()
    let outcome = try TokenizerFit(
      resolved.training, TokenizerFit.Options(vocabularySize: 12, iterations: 5),
      group: SingleProcessGroup(), cores: 1
    ).run { _, _ in }
    try TokenizerFile.write(
      outcome.tokenizer, shares: outcome.shares, teacher: nil, to: tiny.tokenizer)
    #expect(try tiny.finish { $0.stopAfter = 2 }.metrics().count == 2)
    let text = try TokenizerSummary(path: tiny.tokenizer).text
    guard case .codebook(let summary) = try TokenizerSummary(path: tiny.tokenizer) else {
      Issue.record("\(text)")
      return
    }
    #expect(summary.vocabularySize == 12)
    #expect((2...12).contains(summary.usedCodes))
    #expect((1...12.001).contains(summary.perplexity))
    #expect(text.hasPrefix("12 codes for 4 x 4 patches of 4 pixels; "))
  }

  // MARK: File

  @Test func fileComesBack() throws {
    let codebook = Tensor((0..<24).map { Float($0) / 7 }, shape: [2, 12])
    let view = ViewSpecification(
      size: 8, filter: .lanczos, mean: [0.1, 0.2, 0.3], standardDeviation: [1, 2, 3])
    let path = tiny.folder.file("other.h5")
    try TokenizerFile.write(
      try KMeansTokenizer(
        Codebook(codebook), of: StandardizedPatches(patchSize: 2, view: view)),
      shares: [0.25, 0.75], teacher: nil, to: path)
    guard case .kMeans(let read) = try TokenizerFile.contents(of: path) else {
      Issue.record("\(path) has no k-means tokenizer")
      return
    }
    #expect(read.codebook.vectors.values == codebook.values)
    #expect(read.codebook.vectors.shape == codebook.shape)
    #expect(read.patches?.patchSize == 2)
    #expect(read.patches?.view == view)
    #expect(read.shares == [0.25, 0.75])
    let opened = try TokenizerFile.open(path, channels: 3, grid: 4)
    #expect(opened.grid == 4)
    #expect(opened.vocabularySize == 2)
  }

  private func refusal(_ path: String, channels: Int = 1) -> String {
    do throws(ConfigurationError) {
      _ = try TokenizerFile.open(path, channels: channels, grid: 4)
      return "opened"
    } catch {
      return error.description
    }
  }

  @Test func noFileNamesTheCommand() {
    #expect(
      refusal("")
        == "method.tokenizer: names no file; make one with cae-dist tokenizer fit")
    let missing = refusal("/nowhere/tokenizer.h5")
    #expect(missing.hasPrefix("method.tokenizer: "))
    #expect(missing.contains("/nowhere/tokenizer.h5"))
    #expect(missing.hasSuffix("; cae-dist tokenizer fit makes a new one"))
  }

  @Test func otherFilesAreRefused() throws {
    let text = try tiny.folder.write("no HDF5", to: "text.h5")
    let shard = tiny.folder.file("train/\(TemporaryFolder.names(in: tiny.train)[0])")
    for path in [text, shard] {
      #expect(refusal(path).hasPrefix("method.tokenizer: "))
      #expect(refusal(path).contains(path))
      #expect(!refusal(path).contains("\n"))
    }
  }

  @Test func truncatedFileIsRefused() throws {
    try Files.truncate(tiny.tokenizer, toSize: try Files.size(of: tiny.tokenizer) / 2)
    #expect(refusal(tiny.tokenizer).contains(tiny.tokenizer))
  }

  @Test func otherChannelsAreRefused() {
    #expect(
      refusal(tiny.tokenizer, channels: 3) == "method.tokenizer: \(tiny.tokenizer) is for images "
        + "of 1 channels, not 3")
  }

  @Test func otherGridIsRefused() throws {
    let failure = try tiny.failure { $0.set = ["model.patchSize=2"] }
    #expect(failure?.code == .badInput)
    #expect(
      failure?.text.contains("there are 4 x 4 tokens of an image, but the model has 8 x 8 patches")
        == true)
  }

  @Test func codebookWithoutSharesOrKindIsRefused() throws {
    let path = tiny.folder.file("kind.h5")
    try ArtifactWriter.write(
      to: path, tensors: [("codebook", Tensor(repeating: 0, shape: [2, 16]))],
      attributes: [("kind", .string("something else"))])
    #expect(refusal(path).contains("it is not a tokenizer"))
  }

  /// Files that could not be drawn or looked up without reading beside them.
  @Test(
    arguments: [
      ([8, 4], 16, "fits neither"), ([0, 48], 4, "but a codebook"), ([8, 0], 4, "but a codebook"),
      ([2, 48], 1 << 32, "do not fill images"), ([2, 48], 0, "do not fill images"),
      ([2, 48], nil, "fits neither its patches nor a teacher"),
    ] as [([Int], Int?, String)])
  func codebooksThatFitNothingAreRefused(shape: [Int], patchSize: Int?, words: String) throws {
    let path = tiny.folder.file("misfit.h5")
    var attributes: [(name: String, value: ArtifactWriter.Attribute)] = [
      ("kind", .string("kmeans-tokenizer")), ("formatVersion", .integer(1)),
    ]
    if let patchSize {
      attributes += [
        ("patchSize", .integer(patchSize)), ("imageSize", .integer(4 * patchSize)),
        ("filter", .string("bicubic")), ("mean", .floats([0, 0, 0])),
        ("standardDeviation", .floats([1, 1, 1])),
      ]
    }
    try ArtifactWriter.write(
      to: path,
      tensors: [
        ("codebook", Tensor(repeating: 0, shape: Shape(shape))),
        ("shares", Tensor(repeating: 0.5, shape: [shape[0]])),
      ], attributes: attributes)
    #expect(refusal(path, channels: 3).contains(words), "\(refusal(path, channels: 3))")
    #expect(throws: (any Error).self) { try TokenizerSummary(path: path) }
  }
}
