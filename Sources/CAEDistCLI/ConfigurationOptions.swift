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
    let overrides = set + (output.map { ["run.output=\"\($0)\""] } ?? [])
    return try Configurations.resolve(path: config, overrides: overrides)
  }
}
