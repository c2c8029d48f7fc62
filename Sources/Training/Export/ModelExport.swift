import Artifacts
import DataParallel
import Files
import Foundation
import Models

/// Weights of a checkpoint for other programs: `cae-dist export`.
public enum ModelExport {
  public enum Format: String, CaseIterable, Sendable {
    /// The encoder under the names of timm's VisionTransformer.
    case timmSafetensors = "timm-safetensors"
    /// All parameters and buffers under their published names.
    case caeSafetensors = "cae-safetensors"
    /// The same in the layout of a merged checkpoint, without moments.
    case hdf5
  }

  /// Values are written as they are, Float32; a folded layer scale is rounded once.
  ///
  /// - Parameters:
  ///   - path: A checkpoint folder, the output folder of a run, or a merged file.
  ///   - foldsLayerScale: Only of `timmSafetensors`.
  ///   - output: Must not exist yet.
  /// - Returns: A sentence that says what was written.
  public static func write(
    _ path: String, format: Format, foldsLayerScale: Bool = false, to output: String
  ) throws -> String {
    try OutputFile.requireNew(output)
    let saved = try SavedModel(path: path)
    let count: Int
    switch format {
    case .hdf5: count = try writeHDF5(saved, to: output)
    case .caeSafetensors:
      let tensors = try saved.tensors(["parameters", "buffers"])
      let metadata =
        metadata(saved, kind: "cae") + [("configuration", saved.header.configuration)]
      try OutputFile.write(output) {
        try SafetensorsWriter.write(to: $0, tensors: tensors, metadata: metadata)
      }
      count = tensors.count
    case .timmSafetensors:
      count = try writeTimm(saved, foldsLayerScale: foldsLayerScale, to: output)
    }
    return "\(output): step \(saved.header.step), \(count) tensors, "
      + StoredFiles.text(bytes: try Files.size(of: output))
  }

  private static func writeHDF5(_ saved: SavedModel, to output: String) throws -> Int {
    let groups = try ["parameters", "buffers"].map { ($0, try saved.state.names(in: $0)) }
    // A merged file may have the encoder alone, and must go on saying so.
    let part =
      saved.state.worldSize == nil ? try ParameterFile(path: saved.state.path).part : nil
    try OutputFile.write(output) { path in
      try SavedState.write(saved.header, groups, part: part, to: path) {
        (try saved.state.values($0, $1), try saved.state.shape($0, $1))
      }
    }
    return groups.reduce(0) { $0 + $1.1.count }
  }

  private static func writeTimm(
    _ saved: SavedModel, foldsLayerScale: Bool, to output: String
  ) throws -> Int {
    let known = Set(try saved.state.names(in: "parameters"))
    let encoder = TimmEncoder(
      model: saved.configuration.training.model, foldsLayerScale: foldsLayerScale,
      parameter: {
        known.contains("encoder.\($0)") ? try saved.tensor("parameters", "encoder.\($0)") : nil
      }, path: saved.state.path)
    let tensors = try encoder.tensors()
    let hasLayerScale = tensors.contains { $0.name.hasSuffix(".ls1.gamma") }
    let file = URL(fileURLWithPath: output).lastPathComponent
    let metadata =
      metadata(saved, kind: "timm-vit", hasLayerScale: hasLayerScale) + [
        ("python", encoder.python(hasLayerScale: hasLayerScale, file: file))
      ]
    try OutputFile.write(output) {
      try SafetensorsWriter.write(to: $0, tensors: tensors, metadata: metadata)
    }
    return tensors.count
  }

  private static func metadata(
    _ saved: SavedModel, kind: String, hasLayerScale: Bool = true
  ) -> [(key: String, value: String)] {
    let (model, data) = (
      saved.configuration.training.model, saved.configuration.training.data
    )
    return [
      ("format", "pt"), ("kind", kind), ("step", "\(saved.header.step)"),
      ("imageSize", "\(model.imageSize)"), ("patchSize", "\(model.patchSize)"),
      ("channels", "\(model.channels)"), ("embedDim", "\(model.embedDim)"),
      ("depth", "\(model.depth)"), ("numHeads", "\(model.numHeads)"),
      ("mlpRatio", "\(model.mlpRatio)"),
      ("layerScaleInit", "\(hasLayerScale ? model.layerScaleInit : 0)"),
      ("normEpsilon", "1e-06"), ("mean", "\(data.mean)"),
      ("standardDeviation", "\(data.standardDeviation)"),
      ("validationCropShare", "\(data.validationCropShare)"),
      ("programVersion", saved.header.programVersion),
    ]
  }
}
