import ArgumentParser
import Diagnostics
import Training

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Looks for what slows or ends runs on this machine or cluster.",
    discussion: """
      Under mpirun, as the run will be started, in less than ten seconds: builds, processors, threads, \
      memory, shared memory, the run's folders, clocks, speed of each rank, interfaces and links. Each \
      row says what to do. Exit code 1 where there is an error.

      Example: mpirun -n 8 cae-dist doctor --config run.yaml
      """)

  @OptionGroup var options: ConfigurationOptions

  @Flag(name: .long, help: "One JSON object on standard output.")
  var json = false

  func run() throws {
    ClusterRuntime.run { cluster in
      try Doctor.run(on: cluster) {
        try options.resolve()
      } report: { report in
        if json { try printJSON(report) } else { report.lines.forEach { print($0) } }
      }
    }
  }
}
