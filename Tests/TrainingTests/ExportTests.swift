import Artifacts
import DataParallel
import Files
import Models
import NN
import TensorCore
import TestSupport
import Testing

@testable import Training

/// `export` and `import`: values stay the same bits, whatever they are called.
@Suite(.serialized) struct ExportTests {
  private let tiny: TinyRun
  private let checkpoint: String

  init() throws {
    tiny = try TinyRun()
    checkpoint = try tiny.finish().checkpoints[0]
  }

  private func export(
    _ format: ModelExport.Format, _ name: String, folds: Bool = false
  ) throws -> String {
    let path = tiny.folder.file(name)
    _ = try ModelExport.write(checkpoint, format: format, foldsLayerScale: folds, to: path)
    return path
  }

  private func imported(
    _ path: String, _ name: String, _ options: ModelImport.Options = .init()
  ) throws -> SavedState {
    _ = try ModelImport.write(path, options, to: tiny.folder.file(name))
    return try SavedState(path: tiny.folder.file(name))
  }

  private func requireEqual(_ state: SavedState, part: String = "") throws {
    let original = try SavedState(path: checkpoint)
    let names = try original.names(in: "parameters").filter { $0.hasPrefix(part) }
    #expect(try state.names(in: "parameters") == names)
    for name in names {
      #expect(try state.values("parameters", name) == original.values("parameters", name))
      #expect(try state.shape("parameters", name) == original.shape("parameters", name))
    }
  }

  private func refusal(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "no error"
    } catch {
      #expect(ExitCode(for: error) == .badInput)
      return "\(error)"
    }
  }

  @Test(arguments: [ModelExport.Format.caeSafetensors, .hdf5])
  func wholeModelsComeBack(format: ModelExport.Format) throws {
    try requireEqual(try imported(try export(format, "model"), "weights.h5"))
  }

  @Test func encodersComeBackFromTimm() throws {
    let state = try imported(try export(.timmSafetensors, "vit"), "weights.h5")
    try requireEqual(state, part: "encoder.")
    let saved = try SavedModel(path: state.path).configuration.training
    #expect(saved.model.numHeads == 2 && saved.model.imageSize == 16 && saved.data.mean == [0.5])
    let path = state.path
    let run = try tiny.finish {
      $0.output = "second"
      $0.set = ["run.initializeFrom=\"\(path)\""]
    }
    #expect(run.notes.contains { $0.contains("starting anew from the encoder alone") })
  }

  /// `W <- diag(gamma) W`, one rounding.
  @Test func foldedScalesAreProducts() throws {
    let plain = try SafetensorsReader(path: try export(.timmSafetensors, "vit"))
    let folded = try SafetensorsReader(path: try export(.timmSafetensors, "folded", folds: true))
    #expect(!folded.names.contains { $0.contains(".ls") })
    for (layer, scale) in [("attn.proj", "ls1"), ("mlp.fc2", "ls2")] {
      let gamma = try plain.tensor("blocks.1.\(scale).gamma").values
      let (before, after) = (
        try plain.tensor("blocks.1.\(layer).weight"), try folded.tensor("blocks.1.\(layer).weight")
      )
      let row = before.shape[1]
      #expect(after.values == before.values.indices.map { before.values[$0] * gamma[$0 / row] })
    }
  }

  @Test func namesOfTheLaterReleaseAreKnown() throws {
    let original = try SavedModel(path: checkpoint)
    let renames = [
      ("regresser.regressor_blocks.", "pretext_neck.regressor_blocks."),
      ("regresser.norm.", "pretext_neck.norm."), ("decoder.norm.", "pretext_neck.norm2."),
      ("decoder.decoder_blocks.", "pretext_neck.decoder_blocks."),
      ("decoder.head.", "pretext_neck.head."),
    ]
    var tensors = try original.tensors(["parameters"]).map { name, tensor in
      let rule = renames.first { name.hasPrefix($0.0) }
      return (name: rule.map { $0.1 + name.dropFirst($0.0.count) } ?? name, tensor: tensor)
    }
    tensors.append(("encoder.pos_embed", try original.tensor("buffers", "encoder.pos_embed")))
    tensors.append(("teacher.cls_token", Tensor([1], shape: [1])))
    let path = tiny.folder.file("renamed.safetensors")
    try SafetensorsWriter.write(to: path, tensors: tensors)
    let options = ModelImport.Options(heads: 2, decoderHeads: 2)
    try requireEqual(try imported(path, "weights.h5", options))
  }

  @Test func otherFilesAreRefused() throws {
    let path = try export(.timmSafetensors, "vit")
    let reader = try SafetensorsReader(path: path)
    let good = try reader.names.map { ($0, try reader.tensor($0)) }
    func importing(_ change: (String, Tensor) -> Tensor?) throws -> String {
      let changed = tiny.folder.file("changed.safetensors")
      try SafetensorsWriter.write(
        to: changed,
        tensors: good.compactMap { name, tensor in change(name, tensor).map { (name, $0) } })
      let output = tiny.folder.file("refused.h5")
      let text = refusal {
        _ = try ModelImport.write(changed, ModelImport.Options(heads: 2), to: output)
      }
      #expect(!Files.exists(output))
      return text
    }
    #expect(try importing { $0 == "norm.bias" ? nil : $1 }.contains("it has no encoder.norm.bias"))
    #expect(
      try importing { name, tensor in
        name.hasSuffix("qkv.bias")
          ? Tensor([Float](repeating: 1, count: tensor.count), shape: tensor.shape) : tensor
      }.contains("a bias of the keys"))
    #expect(
      try importing { name, tensor in
        guard name == "pos_embed" else { return tensor }
        let (values, width) = (tensor.values, tensor.shape[2])
        return Tensor(
          values.indices.map { $0 - $0 % width + ($0 % width + width / 2) % width }
            .map { values[$0] }, shape: tensor.shape)
      }.contains("the column first"))
    #expect(try importing { $0 == "cls_token" ? nil : $1 }.contains("no model that is known"))
  }
}
