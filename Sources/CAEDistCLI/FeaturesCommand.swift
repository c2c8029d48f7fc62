import ArgumentParser
import Training

struct FeaturesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "features",
    abstract: "Features of images by a pretrained encoder, as an HDF5 file.",
    discussion: """
      /features and /labels, in the order of the shards, whatever the number of ranks. Images are \
      resized and cut out of the middle, as for validation.

      Example: mpirun -n 8 cae-dist features runs/base --images shards/val --output features.h5
      """)

  @Argument(help: "A run, whose newest checkpoint is taken, a checkpoint, or a merged file.")
  var checkpoint: String

  @Option(name: .long, help: "Shards, or folders of them; may be repeated.")
  var images: [String]

  @Option(name: .long, help: "HDF5 file to write.")
  var output: String

  @Option(name: .long, help: "class (token), mean (of the patch tokens), or tokens (all of them).")
  var features = "class"

  @Option(
    name: .long, help: "pretrained, untrained (the weights that the run began with), or pixels.")
  var encoder = "pretrained"

  func run() throws {
    ClusterRuntime.run { cluster in
      try FeatureExtraction.run(cluster) {
        var request = FeatureExtraction.Request(
          checkpoint: checkpoint, images: images, output: output)
        request.features = try FeatureKind(option: features)
        request.source = try EncoderSource(option: encoder)
        return request
      } log: {
        printLine($0)
      }
    }
  }
}
