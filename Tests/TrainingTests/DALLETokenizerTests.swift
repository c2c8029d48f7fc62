import Artifacts
import Interfaces
import Models
import TensorCore
import TestSupport
import Testing

@testable import Training

/// The DALL-E encoder as the tokenizer of a run, from both kinds of files.
@Suite struct DALLETokenizerTests {
  private let folder: TemporaryFolder
  private let weights = DALLEWeights.encoder(hiddenWidth: 8, vocabularySize: 24)

  init() throws { folder = try TemporaryFolder("dalle") }

  private func safetensors(
    _ change: (inout [(name: String, tensor: Tensor)]) -> Void = { _ in }
  ) throws -> String {
    var tensors = weights
    change(&tensors)
    let path = folder.file("encoder.safetensors")
    try SafetensorsWriter.write(to: path, tensors: tensors)
    return path
  }

  private func hdf5() throws -> String {
    let path = folder.file("encoder.h5")
    try ArtifactWriter.write(
      to: path, tensors: weights, attributes: [("kind", .string("dalle-encoder"))])
    return path
  }

  private func refusal(_ path: String, channels: Int = 3) -> String {
    do throws(ConfigurationError) {
      _ = try TokenizerFile.open(path, channels: channels, grid: 3)
      return "opened"
    } catch {
      return error.description
    }
  }

  @Test func bothFilesGiveTheSameTokens() throws {
    var values = TestValues(2)
    let images = values.tensor([2, 3, 24, 24], in: 0.1...0.9)
    let pool = ThreadPool(threadCount: 2)
    let tokens = try [safetensors(), hdf5()].map { path in
      let tokenizer = try TokenizerFile.open(path, channels: 3, grid: 3)
      #expect((tokenizer.grid, tokenizer.vocabularySize) == (3, 24))
      #expect(tokenizer.view.size == 24)
      return tokenizer.tokens(for: images, pool: pool)
    }
    #expect(tokens[0].count == 18)
    #expect(tokens[0] == tokens[1])
    #expect(Set(tokens[0]).count > 1)
  }

  @Test func imagesOfOtherChannelsAreRefused() throws {
    let path = try safetensors()
    #expect(
      refusal(path, channels: 1)
        == "method.tokenizer: \(path) is for images of 3 channels, not 1")
  }

  @Test func tensorsThatDoNotFitAreNamed() throws {
    let missing = try safetensors { tensors in
      tensors.removeAll { $0.name == "blocks.group_2.block_1.id_path.w" }
    }
    #expect(
      refusal(missing)
        == "method.tokenizer: blocks.group_2.block_1.id_path.w is missing in \(missing)")
    let odd = try safetensors { $0[1].tensor = Tensor(repeating: 0, shape: [7]) }
    #expect(
      refusal(odd) == "method.tokenizer: blocks.input.b is [7], not [8], in \(odd)")
    let other = try safetensors { $0 = [("weight", Tensor([1], shape: [1]))] }
    #expect(refusal(other).contains("it is not a tokenizer"))
  }

  @Test func inspectionSaysWhatItIs() throws {
    for path in try [safetensors(), hdf5()] {
      let text = try TokenizerSummary(path: path).text
      guard case .encoder(let summary) = try TokenizerSummary(path: path) else {
        Issue.record("\(text)")
        continue
      }
      #expect(summary.parameters == weights.reduce(0) { $0 + $1.tensor.count })
      #expect((summary.groups, summary.blocksPerGroup, summary.reduction) == (4, 2, 8))
      #expect(
        text == "DALL-E encoder: 24 tokens, one for 8 x 8 pixels; n_hid 8, 4 groups of 2 blocks, "
          + "\(summary.parameters) parameters")
    }
  }
}
