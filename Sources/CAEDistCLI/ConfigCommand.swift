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

    func run() throws {
      runAlone {
        print(try options.resolve().yaml, terminator: "")
        return .success
      }
    }
  }
}
