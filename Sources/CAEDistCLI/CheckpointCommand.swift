import ArgumentParser
import Training

struct CheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint", abstract: "Looks into checkpoints.", subcommands: [Inspect.self])

  struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Step, samples seen, parameter hash and shapes of a checkpoint.",
      discussion: "Example: cae-dist checkpoint inspect runs/quickstart/step-00000937 --json")

    @Argument(help: "Checkpoint folder.")
    var path: String

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      runAlone {
        let summary = try CheckpointSummary(path: path)
        if json { try printJSON(summary) } else { summary.lines.forEach { print($0) } }
        return .success
      }
    }
  }
}
