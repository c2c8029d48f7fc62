import ArgumentParser
import Diagnostics
import Training

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measures this machine.", subcommands: [Step.self])

  struct Step: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Full CAE training steps on generated images, against the products alone.",
      discussion: "Example: cae-dist bench step --model base --batch 16 --threads 2")

    @Option(name: .long, help: "tiny, small, base or large.")
    var model = "base"

    @Option(name: .long, help: "Images of a step.")
    var batch = 16

    @Option(name: .long, help: "Kernel threads.")
    var threads = 1

    @Option(name: .long, help: "Side of the images in pixels.")
    var imageSize = 224

    @Option(name: .long, help: "Steps to time, after one that is not.")
    var repeats = 5

    @Flag(name: .long, help: "Keeps only the inputs of blocks, and computes them twice.")
    var checkpointing = false

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      runAlone {
        let report = try StepBenchmark(
          StepBenchmark.Options(
            model: model, batch: batch, threads: threads, imageSize: imageSize, repeats: repeats,
            keepsBlockInputsOnly: checkpointing)
        ).run()
        if json { try printJSON(report) } else { report.lines.forEach { print($0) } }
        return .success
      }
    }
  }
}
