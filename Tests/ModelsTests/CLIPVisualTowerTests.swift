import Glibc
import Interfaces
import TensorCore
import TestSupport
import Testing

@testable import Models

/// The tower of OpenAI's code at toy size: images of 32 pixels, patches of 8, 2 layers of width 16 and
/// 2 heads, features of 12 values.
@Suite struct CLIPVisualTowerTests {
  private static let shapes: [(name: String, shape: Shape)] = {
    var shapes: [(String, Shape)] = [
      ("class_embedding", [16]), ("positional_embedding", [17, 16]), ("proj", [16, 12]),
      ("conv1.weight", [16, 3, 8, 8]), ("ln_pre.weight", [16]), ("ln_pre.bias", [16]),
      ("ln_post.weight", [16]), ("ln_post.bias", [16]),
    ]
    for layer in 0..<2 {
      let name = "transformer.resblocks.\(layer)."
      shapes += [
        (name + "attn.in_proj_weight", [48, 16]), (name + "attn.in_proj_bias", [48]),
        (name + "attn.out_proj.weight", [16, 16]), (name + "attn.out_proj.bias", [16]),
        (name + "ln_1.weight", [16]), (name + "ln_1.bias", [16]), (name + "ln_2.weight", [16]),
        (name + "ln_2.bias", [16]), (name + "mlp.c_fc.weight", [64, 16]),
        (name + "mlp.c_fc.bias", [64]), (name + "mlp.c_proj.weight", [16, 64]),
        (name + "mlp.c_proj.bias", [16]),
      ]
    }
    return shapes
  }()

  /// `DeterministicFill` by the names without prefix; norms are those with `ln_`.
  private static func value(_ name: String, _ index: Int) -> Double {
    let phase = 2 * Double.pi * Double(DeterministicFill.crc32(name) % 10_000) / 10_000
    let s = sin(phase + 0.37 * Double(index))
    return name.contains("ln_") && name.hasSuffix("weight") ? 1 + 0.1 * s : 0.25 * s
  }

  private func tensors(
    prefix: String = "", without missing: String? = nil, reshaping other: String? = nil
  ) -> NamedTensors {
    NamedTensors(source: "toy.safetensors", key: "method.teacher") {
      (name) throws(ConfigurationError) in
      guard name.hasPrefix(prefix) else { return nil }
      let plain = String(name.dropFirst(prefix.count))
      guard plain != missing, let entry = Self.shapes.first(where: { $0.name == plain }) else {
        return nil
      }
      let count = entry.shape.dimensions.reduce(1, *)
      return Tensor(
        (0..<count).map { Float(Self.value(plain, $0)) },
        shape: plain == other ? Shape([count]) : entry.shape)
    }
  }

  @Test(arguments: ["", "visual."])
  func agreesWithTheOfficialTower(prefix: String) throws {
    let tower = try CLIPVisualTower(tensors(prefix: prefix), grid: 4, heads: 2)
    #expect(tower.width == 12 && tower.view.size == 32)
    // Patches, two blocks (products, attention over 17 tokens), projection.
    #expect(
      tower.flopsPerImage
        == 2 * Double(16 * 16 * 192 + 2 * (17 * 12 * 256 + 2 * 17 * 17 * 16) + 17 * 16 * 12))
    for threads in [1, 2] {
      let features = tower.features(
        of: ToyModel.images, pool: ThreadPool(threadCount: threads))
      #expect(features.shape == [2, 17, 12])
      let values = features.values
      #expect(
        largestDifference(
          Array(values.prefix(12)),
          [
            -0.133688, -0.169931, -0.183175, -0.171627, -0.13685, -0.083551, -0.018944, 0.048227,
            0.108871, 0.15478, 0.17974, 0.180373,
          ]) < 2e-6)
      #expect(
        largestDifference(
          Array(values[(17 + 16) * 12..<(17 + 16) * 12 + 4]),
          [0.195266, 0.180799, 0.141863, 0.083725]) < 2e-6)
      #expect(abs(euclideanNorm(values) - 7.898867) < 2e-5)
    }
  }

  /// So that features which are computed beforehand are those of training.
  @Test func featuresDependOnNeitherBatchNorThreads() throws {
    let tower = try CLIPVisualTower(tensors(), grid: 4, heads: 2)
    try expectSameInAnyBatch(tower)
  }

  /// A table of 2 x 2 positions for 4 x 4 patches: bilinear, from between the middles outwards.
  @Test func positionsAreResized() throws {
    let small = NamedTensors(source: "toy", key: "method.teacher") {
      [tensors = tensors()] (name) throws(ConfigurationError) in
      guard name == "positional_embedding" else { return try tensors[name] }
      return Tensor((0..<5 * 16).map { Float($0 / 16) }, shape: [5, 16])
    }
    let large = NamedTensors(source: "toy", key: "method.teacher") {
      [tensors = tensors()] (name) throws(ConfigurationError) in
      guard name == "positional_embedding" else { return try tensors[name] }
      // Rows 1 to 4 at the places 0, 1/4, 3/4, 1 between them.
      let share: [Float] = [0, 0.25, 0.75, 1]
      let rows: [Float] = [0] + share.flatMap { y in share.map { x in 1 + x + 2 * y } }
      return Tensor(rows.flatMap { [Float](repeating: $0, count: 16) }, shape: [17, 16])
    }
    let pool = ThreadPool(threadCount: 1)
    let found = try [small, large].map {
      try CLIPVisualTower($0, grid: 4, heads: 2).features(of: ToyModel.images, pool: pool).values
    }
    #expect(largestDifference(found[0], found[1]) < 1e-6)
  }

  @Test func wrongWeightsAreNamed() {
    func reason(_ tensors: NamedTensors, heads: Int = 2) -> String {
      let error = #expect(throws: ConfigurationError.self) {
        try CLIPVisualTower(tensors, grid: 4, heads: heads)
      }
      return error.map { "\($0)" } ?? ""
    }
    #expect(
      reason(tensors(without: "ln_post.bias"))
        == "method.teacher: ln_post.bias is missing in toy.safetensors")
    #expect(
      reason(tensors(without: "transformer.resblocks.1.ln_1.weight"))
        .contains("transformer.resblocks.1.ln_1.weight is missing"))
    #expect(reason(tensors(reshaping: "positional_embedding")).contains("no square of positions"))
    #expect(reason(tensors(without: "conv1.weight")).contains("conv1.weight is missing"))
    #expect(reason(tensors(reshaping: "conv1.weight")).contains("no patch embedding"))
    #expect(reason(tensors(reshaping: "proj")).contains("no projection from 16 values"))
    #expect(
      reason(tensors(reshaping: "transformer.resblocks.1.attn.in_proj_weight"))
        .contains("which should be [48, 16]"))
    #expect(reason(tensors(), heads: 3).contains("which 3 heads do not divide"))
  }
}
