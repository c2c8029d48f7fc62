import ArgumentParser
import Foundation
import Training

struct TokenizerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenizer", abstract: "Learns what the decoder's target tokens are.",
    subcommands: [Fit.self, Inspect.self])

  struct Fit: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Learns a k-means codebook of patch vectors; all ranks together under mpirun.",
      discussion: """
        Images, their size, patches and augmentation are those of the configuration.

        Example: mpirun -n 4 cae-dist tokenizer fit --config run.yaml --vocabulary 8192
        """)

    @OptionGroup var options: ConfigurationOptions

    @Option(name: .long, help: "Number of codes.")
    var vocabulary = 256

    @Option(name: .long, help: "Mini-batches of 4096 patches.")
    var iterations = 200

    @Option(name: .long, help: "File to write; by default method.tokenizer of the configuration.")
    var file: String?

    func run() throws {
      ClusterRuntime.run { cluster in
        try TokenizerFitting.run(
          cluster, vocabularySize: vocabulary, iterations: iterations, file: file
        ) { try options.resolve() }
      }
    }
  }

  struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Size of a tokenizer, and how its codes were used when it was fitted.",
      discussion: "Example: cae-dist tokenizer inspect tokenizer.h5")

    @Argument(help: "Tokenizer file.")
    var file: String

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      runAlone {
        let summary = try TokenizerSummary(path: file)
        if json { try printJSON(summary) } else { print(summary.text) }
        return .success
      }
    }
  }
}
