import ArgumentParser
import Diagnostics
import Training

struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Checks losses, outputs, gradients and training steps against reference files.",
    discussion: """
      Exit code 0: all within their limits; 1: some are not; 69: a file is for a method that this \
      build does not have.

      Example: cae-dist verify Tests/Golden/cae-v1-tiny.h5
      """)

  @Argument(help: "Reference files (HDF5).")
  var files: [String]

  @Flag(name: .long, help: "One JSON object on standard output.")
  var json = false

  func run() throws {
    runAlone {
      let outcome = VerificationRun(files: files)
      if json { try printJSON(outcome) } else { outcome.lines.forEach { print($0) } }
      return outcome.exitCode
    }
  }
}
