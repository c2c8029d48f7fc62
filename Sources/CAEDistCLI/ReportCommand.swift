import ArgumentParser
import Reporting
import Training

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "One HTML file with the curves, times, results and pictures of a run.",
    discussion: """
      The file needs nothing but itself: curves and pictures are in it. Pictures that are missing in \
      the run's folder pictures are made of its newest checkpoint. A run that goes on is not \
      disturbed.

      Example: cae-dist report runs/quickstart --output quickstart.html
      """)

  @Argument(help: "Output folder of a run.")
  var folder: String

  @Option(name: .long, help: "File to write; by default report.html in the run's folder.")
  var output: String?

  @Flag(name: .customLong("no-pictures"), help: "Makes no pictures; shows those that are there.")
  var noPictures = false

  func run() throws {
    runAlone {
      let path = output ?? "\(folder)/report.html"
      // Before pictures are made for what is no run.
      try RunReport.check(run: folder)
      let notes = noPictures ? [] : RunPictures.makeMissing(run: folder)
      try RunReport(run: folder, notes: notes).write(to: path)
      print(path)
      return .success
    }
  }
}
