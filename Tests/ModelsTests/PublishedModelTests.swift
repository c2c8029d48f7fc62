import Models
import NN
import TensorCore
import TestSupport
import Testing

/// Sizes and names of the published models.
@Suite struct PublishedModelTests {
  private func tree(
    _ model: VisionTransformerConfiguration, decoderDim: Int, decoderHeads: Int = 12
  ) -> ParameterTree {
    var configuration = CAE.Configuration()
    configuration.decoderDim = decoderDim
    configuration.decoderHeads = decoderHeads
    let tree = ParameterTree()
    _ = CAENetwork(model, configuration, vocabularySize: 8192, in: tree)
    return tree
  }

  @Test func trainedParametersOfTheSizes() {
    #expect(tree(.base, decoderDim: 768).parameterCount == 148_681_472)
    #expect(tree(.small, decoderDim: 768).parameterCount == 84_916_736)
    #expect(tree(.small, decoderDim: 384).parameterCount == 38_955_392)
    #expect(tree(.large, decoderDim: 768).parameterCount == 366_938_112)
    #expect(tree(.large, decoderDim: 1024, decoderHeads: 16).parameterCount == 412_320_768)
  }

  @Test(arguments: [
    (VisionTransformerConfiguration.tiny, 5_526_720), (.small, 21_670_272), (.base, 85_807_872),
    (.large, 303_326_208),
  ])
  func encodersWithTheirPositionTable(model: VisionTransformerConfiguration, count: Int) {
    let tree = ParameterTree()
    let encoder = VisionTransformer("encoder", model, scheme: .xavier, in: tree)
    #expect(tree.parameterCount + encoder.publishedPositionTable.count == count)
  }

  @Test func namesAndOrderAreThePublishedOnes() {
    let tree = tree(.base, decoderDim: 768)
    let expected = PublishedNames.all(depth: 12, decoderDepth: 4)
    #expect(expected.count == 336)
    #expect(tree.entries.map(\.parameter.name) == expected)
    let shapes: [(String, Shape)] = [
      ("mask_token", [1, 1, 768]), ("encoder.cls_token", [1, 1, 768]),
      ("encoder.patch_embed.proj.weight", [768, 3, 16, 16]),
      ("encoder.blocks.11.attn.qkv.weight", [2304, 768]),
      ("encoder.blocks.0.mlp.fc2.weight", [768, 3072]),
      ("regresser.regressor_blocks.3.cross_attn.v.weight", [768, 768]),
      ("decoder.head.weight", [8192, 768]),
    ]
    for (name, shape) in shapes {
      #expect(tree.parameter(named: name)?.shape == shape, "\(name)")
    }
  }

  @Test func anotherDecoderWidthAddsTheProjection() {
    let names = tree(.small, decoderDim: 768).entries.map(\.parameter.name)
    let added = [
      "encoder_to_regresser.weight", "encoder_to_regresser.bias",
      "encoder_to_regresser_norm.weight", "encoder_to_regresser_norm.bias",
    ]
    let start = names.firstIndex(of: "encoder_to_regresser.weight")
    #expect(start.map { Array(names[$0..<$0 + 4]) } == added)
    #expect(names.filter { !added.contains($0) } == PublishedNames.all(depth: 12, decoderDepth: 4))
  }

  @Test func weightDecayOfTheToyModel() {
    let entries = ToyModel(decoderDim: 16).tree.entries
    #expect(entries.count { $0.hasWeightDecay } == 32)
    #expect(entries.count { !$0.hasWeightDecay } == 82)
    let decayed = Set(entries.filter(\.hasWeightDecay).map(\.parameter.name))
    #expect(decayed.isSuperset(of: ["mask_token", "encoder.cls_token", "decoder.head.weight"]))
  }

  /// Layer scales vanish where their start is 0.
  @Test func withoutLayerScaleThereIsNoGamma() {
    var model = VisionTransformerConfiguration.base
    model.layerScaleInit = 0
    var configuration = CAE.Configuration()
    configuration.decoderLayerScaleInit = 0
    let tree = ParameterTree()
    _ = CAENetwork(model, configuration, vocabularySize: 8192, in: tree)
    #expect(!tree.entries.contains { $0.parameter.name.contains("gamma") })
    #expect(tree.parameterCount == 148_681_472 - 20 * 2 * 768)
  }

  @Test func positionTablesAreSavedWithAZeroRowForTheClassToken() {
    let model = ToyModel(decoderDim: 24)
    let tables = model.network.positionTables
    #expect(tables.map(\.name) == ["encoder.pos_embed", "rd_pos_embed"])
    #expect(tables.map(\.tensor.shape) == [[1, 17, 16], [1, 17, 24]])
    for (table, width) in zip(tables, [16, 24]) {
      let values = table.tensor.values
      #expect(values.prefix(width).allSatisfy { $0 == 0 })
      let expected = SinCosPositionEmbedding.table(grid: 4, width: width).values
      #expect(Array(values.dropFirst(width)) == expected)
    }
  }
}

/// The names of the official pretraining model without its fixed tables and frozen copies.
private enum PublishedNames {
  static func all(depth: Int, decoderDepth: Int) -> [String] {
    var names = ["mask_token", "encoder.cls_token"]
    names += pair("encoder.patch_embed.proj")
    for index in 0..<depth { names += block("encoder.blocks.\(index)") }
    names += pair("encoder.norm")
    for index in 0..<decoderDepth { names += crossBlock("regresser.regressor_blocks.\(index)") }
    names += pair("regresser.norm")
    for index in 0..<decoderDepth { names += block("decoder.decoder_blocks.\(index)") }
    return names + pair("decoder.norm") + pair("decoder.head")
  }

  private static func pair(_ name: String) -> [String] { ["\(name).weight", "\(name).bias"] }

  private static func block(_ name: String) -> [String] {
    ["\(name).gamma_1", "\(name).gamma_2"] + pair("\(name).norm1")
      + ["\(name).attn.q_bias", "\(name).attn.v_bias", "\(name).attn.qkv.weight"]
      + pair("\(name).attn.proj") + pair("\(name).norm2") + pair("\(name).mlp.fc1")
      + pair("\(name).mlp.fc2")
  }

  private static func crossBlock(_ name: String) -> [String] {
    ["\(name).gamma_1_cross", "\(name).gamma_2_cross"]
      + ["norm1_q", "norm1_k", "norm1_v", "norm2_cross"].flatMap { pair("\(name).\($0)") }
      + ["q_bias", "v_bias", "q.weight", "k.weight", "v.weight"].map { "\(name).cross_attn.\($0)" }
      + pair("\(name).cross_attn.proj") + pair("\(name).mlp_cross.fc1")
      + pair("\(name).mlp_cross.fc2")
  }
}
