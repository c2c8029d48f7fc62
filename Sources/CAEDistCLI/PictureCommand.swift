import ArgumentParser
import Reporting
import Training

struct PictureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "picture",
    abstract: "Curves, masks, attention and reconstructions as picture files.",
    discussion: "Example: cae-dist picture attention runs/quickstart --output attention.png",
    subcommands: [Loss.self, Masks.self, Attention.self, Reconstruction.self])

  struct Loss: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Loss and learning rate over the steps of a run, as SVG.",
      discussion: "Example: cae-dist picture loss runs/quickstart --output loss.svg")

    @Argument(help: "Output folder of a run.")
    var folder: String

    @Option(name: .long, help: "File to write, .svg.")
    var output: String

    func run() throws {
      runAlone {
        try LossPicture.write(run: folder, to: output)
        print(output)
        return .success
      }
    }
  }

  struct Masks: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "How evenly the masks of a configuration cover the image, beside its crops.",
      discussion: """
        The mean of 10000 draws of each, and six masks.

        Example: cae-dist picture masks --config Configs/cae-base-300e.yaml --output masks.png
        """)

    @Option(
      name: .long, help: "Configuration file (YAML); without one: the quickstart configuration.")
    var config: String?

    @Option(
      name: .long,
      help: ArgumentHelp("Overrides one value; may be repeated.", valueName: "section.key=value"))
    var set: [String] = []

    @Option(name: .long, help: "File to write, .png or .svg.")
    var output: String

    func run() throws {
      runAlone {
        let (picture, lines) = try CoveragePicture.draw(
          try Configurations.resolve(path: config, overrides: set))
        try picture.write(to: output)
        lines.forEach { print($0) }
        print("\(output): \(picture.caption)")
        return .success
      }
    }
  }

  struct Attention: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What the class token or an attentive probe attends to, on eight images.",
      discussion: """
        The class token in the last encoder block, or with --head the probe's query. Images are those \
        of data.validation, or else data.train, of the checkpoint's configuration.

        Examples:
          cae-dist picture attention runs/quickstart --output attention.png
          cae-dist picture attention runs/quickstart --output probe.png \
            --head runs/quickstart/evaluations/attentive-step-00000937.h5
        """)

    @Argument(help: "Checkpoint folder, run (its newest one), or merged file.")
    var checkpoint: String

    @Option(name: .long, help: "Head of an attentive probe, as evaluate attentive writes it.")
    var head: String?

    @Option(name: .long, help: "File to write, .png or .svg.")
    var output: String

    func run() throws {
      runAlone {
        let picture = try AttentionPicture.draw(checkpoint, head: head)
        try picture.write(to: output)
        print("\(output): \(picture.caption)")
        return .success
      }
    }
  }

  struct Reconstruction: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Masked images, what CAE predicts of them, and the originals.",
      discussion: """
        Example: cae-dist picture reconstruction runs/quickstart --output reconstruction.png
        """)

    @Argument(help: "Checkpoint folder, run (its newest one), or merged file.")
    var checkpoint: String

    @Option(name: .long, help: "Decoder of the DALL-E encoder: HDF5 or safetensors.")
    var decoder: String?

    @Option(name: .long, help: "File to write, .png or .svg.")
    var output: String

    func run() throws {
      runAlone {
        let picture = try ReconstructionPicture.draw(checkpoint, decoder: decoder)
        try picture.write(to: output)
        print("\(output): \(picture.caption)")
        return .success
      }
    }
  }
}
