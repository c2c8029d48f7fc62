import ArgumentParser
import Training

/// How a verb gets its configuration.
struct ConfigurationOptions: ParsableArguments {
  @Option(
    name: .long, help: "Configuration file (YAML); without one: the quickstart configuration.")
  var config: String?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Overrides one value, e.g. --set schedule.epochs=5; may be repeated.",
      valueName: "section.key=value"))
  var set: [String] = []

  @Option(name: .long, help: "Folder for metrics and checkpoints (run.output).")
  var output: String?

  func resolve() throws -> ResolvedConfiguration {
    // YAML's single quotes take every character as it is, but for the quote itself.
    let quoted = output.map { $0.split(separator: "'", omittingEmptySubsequences: false) }
    let overrides = set + (quoted.map { ["run.output='\($0.joined(separator: "''"))'"] } ?? [])
    return try Configurations.resolve(path: config, overrides: overrides)
  }
}
