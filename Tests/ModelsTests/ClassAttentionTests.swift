import Foundation
import Interfaces
import Models
import NN
import TensorCore
import TestSupport
import Testing

/// The softmax row of the class token against plain loops over the model's parameters.
@Suite struct ClassAttentionTests {
  private static let model = VisionTransformerConfiguration(
    imageSize: 12, patchSize: 4, channels: 1, embedDim: 12, depth: 1, numHeads: 3)

  private let tree = ParameterTree()
  private let encoder: VisionTransformer
  private let parameters: FlatBuffer
  private let images: Tensor

  init() {
    encoder = VisionTransformer("encoder", Self.model, scheme: .xavier, in: tree)
    parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
    var random = CounterRandom(seed: 5, stream: .tokenizer)
    for place in 0..<parameters.count { parameters.pointer[place] = Float(random.uniform(-1, 1)) }
    images = Tensor((0..<288).map { _ in Float(random.uniform(-1, 1)) }, shape: [2, 1, 12, 12])
  }

  private func values(_ name: String) throws -> [Double] {
    let parameter = try #require(tree.parameter(named: "encoder.\(name)"))
    return parameters.tensor(parameter).values.map(Double.init)
  }

  private func product(_ row: [Double], _ weight: ArraySlice<Double>) -> Double {
    zip(row, weight).reduce(0) { $0 + $1.0 * $1.1 }
  }

  /// Inputs of the attention: class token and patches with positions, normalized, `[10][12]`.
  private func tokens(of image: Int) throws -> [[Double]] {
    let (weight, bias) = (
      try values("patch_embed.proj.weight"), try values("patch_embed.proj.bias")
    )
    var rows = [try values("cls_token")]
    for patch in 0..<9 {
      let pixels = (0..<16).map { place in
        let (y, x) = (patch / 3 * 4 + place / 4, patch % 3 * 4 + place % 4)
        return Double(images.values[image * 144 + y * 12 + x])
      }
      rows.append(
        (0..<12).map { column in
          product(pixels, weight[column * 16..<column * 16 + 16]) + bias[column]
            + Double(encoder.positions.values[patch * 12 + column])
        })
    }
    let (scale, shift) = (try values("blocks.0.norm1.weight"), try values("blocks.0.norm1.bias"))
    return rows.map { row in
      let mean = row.reduce(0, +) / 12
      let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 12
      return row.indices.map {
        (row[$0] - mean) / (variance + 1e-6).squareRoot() * scale[$0] + shift[$0]
      }
    }
  }

  @Test func rowIsTheSoftmaxOfItsProducts() throws {
    let tape = Tape(parameters: parameters, pool: ThreadPool(threadCount: 2))
    let keys = [SampleKey(epoch: 0, sample: 0), SampleKey(epoch: 0, sample: 1)]
    let step = StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false)
    let result = tape.withoutGradient {
      encoder.classTokenAttention(images, ForwardContext(tape: tape, keys: keys, step: step))
    }
    #expect(result.shape.dimensions == [2, 3, 10])
    let (qkv, bias) = (try values("blocks.0.attn.qkv.weight"), try values("blocks.0.attn.q_bias"))
    for (image, head) in (0..<2).flatMap({ image in (0..<3).map { (image, $0) } }) {
      let tokens = try tokens(of: image)
      let scores = tokens.map { token in
        (head * 4..<head * 4 + 4).reduce(0.0) { sum, column in
          let q = product(tokens[0], qkv[column * 12..<column * 12 + 12]) + bias[column]
          return sum + q * product(token, qkv[(12 + column) * 12..<(13 + column) * 12])
        } / 2
      }
      let exponentials = scores.map { exp($0) }
      for place in 0..<10 {
        let expected = exponentials[place] / exponentials.reduce(0, +)
        let found = Double(result.values[(image * 3 + head) * 10 + place])
        #expect(abs(found - expected) < 1e-5, "image \(image), head \(head), token \(place)")
      }
    }
  }
}
