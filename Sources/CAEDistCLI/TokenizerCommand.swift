import ArgumentParser
import Foundation
import ShardedData
import Training

struct TokenizerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenizer",
    abstract:
      "What methods predict: learns tokens, computes them and teachers' features beforehand.",
    discussion: "Example: cae-dist tokenizer fit --config Configs/cae-small.yaml --vocabulary 1024",
    subcommands: [Fit.self, Encode.self, Inspect.self])

  struct Fit: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Learns a k-means codebook of the patches; all ranks together under mpirun.",
      discussion: """
        Images, their size, patches and augmentation are those of the configuration. The codes are of \
        the pixels of patches, or of a teacher's features of them; then the file holds the teacher, too.

        Examples:
          mpirun -n 4 cae-dist tokenizer fit --config run.yaml --vocabulary 8192
          mpirun -n 4 cae-dist tokenizer fit --config run.yaml --vocabulary 8192 \\
            --features teacher.safetensors
        """)

    @OptionGroup var options: ConfigurationOptions

    @Option(name: .long, help: "Number of codes.")
    var vocabulary = 256

    @Option(name: .long, help: "Mini-batches of 4096 patches.")
    var iterations = 200

    @Option(name: .long, help: "Weights of the teacher whose features of the patches are coded.")
    var features: String?

    @Option(name: .long, help: "File to write; by default method.tokenizer of the configuration.")
    var file: String?

    func run() throws {
      ClusterRuntime.run { cluster in
        try TokenizerFitting.run(
          cluster,
          TokenizerFit.Options(
            vocabularySize: vocabulary, iterations: iterations, teacher: features), file: file
        ) { try options.resolve() }
      }
    }
  }

  struct Encode: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract:
        "Computes the tokens, or a teacher's features, of all pictures of a run beforehand.",
      discussion: """
        With data.fixedViews = K epochs go round among K pictures of each image, whose flip, crop and \
        colours are functions of the image's name. Their targets are computed once: tokens by \
        method.tokenizer, or features by method.teacher. A run with data.targets reads them and needs \
        neither. The ranks share the shards; killed, it goes on \
        where it was when the same command is given again.

        Example: mpirun -n 8 cae-dist tokenizer encode --config run.yaml --set data.fixedViews=8
        """)

    @OptionGroup var options: ConfigurationOptions

    @Option(
      name: .long,
      help: "Folder of the targets; by default data.targets, or targets beside the shards.")
    var targets: String?

    func run() throws {
      ClusterRuntime.run { cluster in
        try TargetEncoding.run(cluster, output: targets) { try options.resolve() }
      }
    }
  }

  struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "How the codes of a tokenizer, or of precomputed targets, are used; draws them.",
      discussion: """
        The picture of a k-means tokenizer is its codebook, the commonest codes first. That of a \
        DALL-E encoder shows every code as --decoder alone makes it, or, with --images, eight images \
        over what the decoder makes of their tokens. The 8192 codes of the published decoder take \
        minutes.

        Examples:
          cae-dist tokenizer inspect tokenizer.h5 --picture codebook.png
          cae-dist tokenizer inspect shards/targets
          cae-dist tokenizer inspect encoder.safetensors --picture images.png \\
            --decoder decoder.safetensors --images shards/val
        """)

    @Argument(help: "Tokenizer file, or folder or file of precomputed targets.")
    var file: String

    @Option(name: .long, help: "PNG file for a picture of the codes.")
    var picture: String?

    @Option(name: .long, help: "Decoder of the DALL-E encoder: HDF5 or safetensors.")
    var decoder: String?

    @Option(name: .long, help: "Shards whose images go through encoder and decoder.")
    var images: [String] = []

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func validate() throws {
      guard picture != nil || decoder == nil && images.isEmpty else {
        throw ValidationError("--decoder and --images are for a picture; name it with --picture")
      }
      guard images.isEmpty || decoder != nil else {
        throw ValidationError("--images are drawn as a decoder sees them; name it with --decoder")
      }
    }

    func run() throws {
      runAlone {
        let summary = try TokenizerSummary(path: file)
        if let picture {
          let options = TokenizerPicture.Options(decoder: decoder, images: images)
          try TokenizerPicture.draw(file, options).write(to: picture)
        }
        if json { try printJSON(summary) } else { print(summary.text) }
        return .success
      }
    }
  }
}
