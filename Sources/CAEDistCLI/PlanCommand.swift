import ArgumentParser
import Diagnostics
import Training

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "What a run will take, without running it.",
    discussion: """
      Memory by kind: of a rank, of a host, of all hosts. Where gradients are sent between hosts, \
      bucketStaging is what it can come to. checkpointCopy is what checkpoints are written from while \
      training goes on; checkpoint.asynchronous=false saves it.

      Example: cae-dist plan --model large --hosts 4 --ranks-per-host 8 --micro-batch 2 \
      --set parallelism.sharding=gradients
      """)

  @Option(name: .long, help: "tiny, small, base or large.")
  var model = "base"

  @Option(name: .long, help: "Number of hosts.")
  var hosts = 1

  @Option(name: .long, help: "Ranks of each host.")
  var ranksPerHost = 1

  @Option(name: .long, help: "Images of one forward and backward of a rank.")
  var microBatch = 16

  @Option(name: .long, help: "Micro-batches of a rank in one step.")
  var accumulation = 1

  @Option(name: .long, help: "Side of the images in pixels.")
  var imageSize = 224

  @Option(name: .long, help: "Kernel threads of a rank.")
  var threads = 1

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Overrides a value of the configuration; may be repeated.", valueName: "section.key=value"))
  var set: [String] = []

  @Flag(name: .long, help: "One JSON object on standard output.")
  var json = false

  func run() throws {
    runAlone {
      let plan = try MemoryPlan.make(
        MemoryPlan.Options(
          model: model, hosts: hosts, ranksPerHost: ranksPerHost, microBatch: microBatch,
          accumulation: accumulation, imageSize: imageSize, threads: threads, overrides: set))
      if json { try printJSON(plan) } else { plan.lines.forEach { print($0) } }
      return .success
    }
  }
}
