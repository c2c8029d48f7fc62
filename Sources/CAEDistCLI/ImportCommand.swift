import ArgumentParser
import Training

struct ImportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Makes a file for run.initializeFrom of others' weights.",
    discussion: """
      Reads what export writes, published CAE checkpoints that Scripts/convert/cae-checkpoint.py has \
      turned into safetensors or HDF5, and vision transformers of timm. Sizes come from the shapes; \
      heads from what the file says, from --config, or 12 (16 for a width of 1024).

      Example: cae-dist import vit.safetensors --output weights.h5
      """)

  @Argument(help: "File of weights: safetensors or HDF5.")
  var file: String

  @Option(name: .long, help: "HDF5 file to write; must not exist.")
  var output: String

  @Option(name: .long, help: "Attention heads of the encoder.")
  var heads: Int?

  @Option(name: .long, help: "Attention heads of regressor and decoder.")
  var decoderHeads: Int?

  @Option(name: .long, help: "Configuration (YAML) for what shapes do not tell.")
  var config: String?

  func run() throws {
    runAlone {
      let options = ModelImport.Options(
        heads: heads, decoderHeads: decoderHeads, configuration: config)
      try ModelImport.write(file, options, to: output).forEach { print($0) }
      return .success
    }
  }
}
