import ArgumentParser
import Diagnostics
import Foundation
import Reporting
import Training

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Memory and time of a run on a cluster, without running it.",
    discussion: """
      Memory by kind: of a rank, of a host, of all hosts. Where gradients are sent between hosts, \
      bucketStaging is what it can come to. checkpointCopy is what checkpoints are written from while \
      training goes on; checkpoint.asynchronous=false saves it. Times follow from rates that were \
      measured: first call it with --calibrate on a machine like those of the cluster.

      Example: cae-dist plan --model large --hosts 16 --ranks-per-host 8 --cores-per-host 64 \
      --link-gbit 25 --memory-gib 256 --global-batch 2048
      """)

  @Option(name: .long, help: "tiny, small, base or large.")
  var model = "base"

  @Option(name: .long, help: "Number of hosts.")
  var hosts = 1

  @Option(name: .long, help: "Ranks of each host.")
  var ranksPerHost = 1

  @Option(name: .long, help: "Cores of each host; by default those of this machine.")
  var coresPerHost: Int?

  @Option(name: .long, help: "Kernel threads of a rank; by default the cores that it has.")
  var threads: Int?

  @Option(name: .long, help: "Images of one forward and backward of a rank; by default 16.")
  var microBatch: Int?

  @Option(name: .long, help: "Micro-batches of a rank in one step; by default 1.")
  var accumulation: Int?

  @Option(name: .long, help: "Images of a step of all ranks, instead of --accumulation.")
  var globalBatch: Int?

  @Option(name: .long, help: "Rate of a host's link in each direction, Gbit/s.")
  var linkGbit = 10.0

  @Option(name: .long, help: "Memory of a host in GiB; by default that of this machine.")
  var memoryGib: Double?

  @Option(name: .long, help: "Images of an epoch.")
  var images = 1_281_167

  @Option(name: .long, help: "Stored size of an image in kB.")
  var imageKilobytes = 110

  @Option(name: .long, help: "Side of the images in pixels.")
  var imageSize = 224

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Overrides a value of the configuration; may be repeated.", valueName: "section.key=value"))
  var set: [String] = []

  @Flag(name: .long, help: "Measures this machine, in some minutes, and keeps its rates.")
  var calibrate = false

  @Option(name: .long, help: "File of the rates; by default calibration.json in the data folder.")
  var calibration: String?

  @Flag(name: .long, help: "A table of efficiencies up to 1024 hosts.")
  var scaling = false

  @Option(name: .long, help: "Draws that table to a file that ends with .svg.")
  var plot: String?

  @Flag(name: .long, help: "One JSON object on standard output.")
  var json = false

  func run() throws {
    runAlone {
      let path = calibration ?? MachineRates.defaultPath
      if calibrate { return try measure(to: path) }
      let (rates, source) = try MachineRates.load(calibration)
      let plan = try ClusterPlan.make(options, rates: rates, calibration: source)
      if let plot { try draw(plan.scaling, to: plot) }
      if json {
        try printJSON(plan)
      } else {
        let table = scaling ? [""] + ScalingPoint.lines(plan.scaling) : []
        (plan.lines + table).forEach { print($0) }
      }
      return .success
    }
  }

  private func measure(to path: String) throws -> Training.ExitCode {
    let rates = try MachineCalibration.run { line in
      FileHandle.standardError.write(Data("measuring \(line)\n".utf8))
    }
    try rates.write(to: path)
    if json { try printJSON(rates) } else { print("wrote \(path): \(rates.summary)") }
    return .success
  }

  private func draw(_ points: [ScalingPoint], to path: String) throws {
    try ScalingPlot.write(
      [
        ScalingPlot.Curve("weak", points.map { ($0.hosts, $0.weakEfficiency) }),
        ScalingPlot.Curve(
          "strong", points.compactMap { point in point.strongEfficiency.map { (point.hosts, $0) } }),
      ], title: "Planned efficiency of CAE-\(model)", to: path)
  }

  private var options: ClusterPlan.Options {
    var options = ClusterPlan.Options()
    options.model = model
    options.imageSize = imageSize
    (options.hosts, options.ranksPerHost) = (hosts, ranksPerHost)
    options.coresPerHost = coresPerHost ?? RankLayout.coresOfProcess
    options.threads = threads
    (options.microBatch, options.accumulation) = (microBatch, accumulation)
    options.globalBatch = globalBatch
    options.linkGbit = linkGbit
    options.memoryBytes =
      memoryGib.map { Int($0 * 1_073_741_824) } ?? Int(ProcessInfo.processInfo.physicalMemory)
    (options.images, options.imageBytes) = (images, imageKilobytes * 1000)
    options.overrides = set
    return options
  }
}
