import ArgumentParser
import Training

struct ConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Shows configurations.", subcommands: [Print.self])

  struct Print: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Prints the full configuration, every default included, as YAML.",
      discussion: "Example: cae-dist config print --config Configs/cae-small.yaml")

    @OptionGroup var options: ConfigurationOptions

    @Option(
      name: .long,
      help: ArgumentHelp(
        "Instead, one number: the most ranks, at most N, that can share a step.", valueName: "n"))
    var ranksUpTo: Int?

    func validate() throws {
      guard ranksUpTo.map({ $0 > 0 }) ?? true else {
        throw ValidationError("--ranks-up-to needs a number of ranks, 1 or more.")
      }
    }

    func run() throws {
      runAlone {
        let configuration = try options.resolve()
        if let ranksUpTo {
          print(configuration.training.largestWorldSize(upTo: ranksUpTo))
        } else {
          print(try configuration.yaml, terminator: "")
        }
        return .success
      }
    }
  }
}
