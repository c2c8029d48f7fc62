import ArgumentParser
import Training

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Writes the weights of a checkpoint for other programs.",
    discussion: """
      timm-safetensors: the encoder alone, for timm's VisionTransformer; cae-safetensors: everything \
      under its published name; hdf5: the same in the layout of checkpoint merge, without moments.

      Example: cae-dist export runs/quickstart --format timm-safetensors --output vit.safetensors
      """)

  @Argument(help: "Checkpoint folder, output folder of a run (its newest), or merged file.")
  var checkpoint: String

  @Option(
    name: .long, help: "timm-safetensors, cae-safetensors or hdf5.",
    transform: { text in
      guard let format = ModelExport.Format(rawValue: text) else {
        throw ValidationError("\(text) is none of timm-safetensors, cae-safetensors and hdf5")
      }
      return format
    })
  var format: ModelExport.Format

  @Option(name: .long, help: "File to write; must not exist.")
  var output: String

  @Flag(name: .long, help: "timm-safetensors: multiply the layer scale into proj and fc2.")
  var foldLayerScale = false

  func validate() throws {
    guard !foldLayerScale || format == .timmSafetensors else {
      throw ValidationError("--fold-layer-scale is for --format timm-safetensors; leave it out")
    }
  }

  func run() throws {
    runAlone {
      print(
        try ModelExport.write(
          checkpoint, format: format, foldsLayerScale: foldLayerScale, to: output))
      return .success
    }
  }
}
