import ArgumentParser
import Foundation
import Training

/// The command line: declarations only, the work is in the libraries.
@main
struct CAEDist: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cae-dist",
    abstract: "Self-supervised vision pretraining on CPU clusters, by MPI.",
    discussion: """
      Alone it pretrains with the quickstart configuration; under mpirun, on all ranks.

      Example: mpirun -n 8 cae-dist
      """,
    version: Version.current,
    subcommands: [
      Pretrain.self, Verify.self, Bench.self, DataCommand.self, TokenizerCommand.self,
      CheckpointCommand.self, EvaluateCommand.self, FeaturesCommand.self, ExportCommand.self,
      ImportCommand.self, PictureCommand.self, ReportCommand.self, ConfigCommand.self,
      PlanCommand.self, DoctorCommand.self,
    ],
    defaultSubcommand: Pretrain.self)

  /// Wrong usage ends all ranks with exit code 64, and only rank 0 says why.
  static func main() {
    do throws(TrainingError) {
      try BuildTarget.check()
    } catch {
      ClusterRuntime.report("\(error)", rank: nil)
      Foundation.exit(Training.ExitCode.unavailable.rawValue)
    }
    KernelChoice.restartWhereNeeded()
    do {
      try refuseUnknownVerb()
      var command = try parseAsRoot()
      try command.run()
    } catch {
      guard rankOfLauncher > 0 else { exit(withError: error) }
      // Rank 0 must have spoken before the launcher sees the first exit and ends the others.
      sleep(1)
      Foundation.exit(exitCode(for: error).rawValue)
    }
  }

  /// The default verb would take it for an argument of its own.
  private static func refuseUnknownVerb() throws {
    guard let word = CommandLine.arguments.dropFirst().first, !word.hasPrefix("-") else { return }
    let verbs = configuration.subcommands.map { $0._commandName } + ["help"]
    guard !verbs.contains(word) else { return }
    let nearest = Spelling.nearest(to: word, among: verbs)
    throw ValidationError("there is no verb \(word); did you mean \(nearest)? --help lists all")
  }

  private static var rankOfLauncher: Int {
    let environment = ProcessInfo.processInfo.environment
    let rank = environment["OMPI_COMM_WORLD_RANK"] ?? environment["PMIX_RANK"]
    return rank.flatMap { Int($0) } ?? 0
  }
}

/// Runs what needs no other ranks; errors become one sentence and their exit code.
func runAlone(_ body: () throws -> Training.ExitCode) -> Never {
  do {
    Foundation.exit(try body().rawValue)
  } catch {
    ClusterRuntime.report("\(error)", rank: nil)
    Foundation.exit(Training.ExitCode(for: error).rawValue)
  }
}

/// One JSON object on standard output, keys sorted.
func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  print(String(decoding: try encoder.encode(value), as: UTF8.self))
}
