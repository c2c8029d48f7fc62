import ArgumentParser
import Training

struct Pretrain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Pretrains a model (the default verb).",
    discussion: """
      Example: mpirun -n 8 cae-dist pretrain --config Configs/cae-base-800e.yaml --output runs/base
      """)

  @OptionGroup var options: ConfigurationOptions

  @Option(
    name: .long, help: "Where to start: auto (newest checkpoint in the output), never, or PATH.")
  var resume = "auto"

  @Option(
    name: .long,
    help: ArgumentHelp(
      """
      Does a fault to the run, to show what comes of it. Kinds: kill, hang, slow, straggle, nan, bitflip; in the \
      checkpoint after the step enospc, eio, short-write, and kill with ,at=part, ,at=manifest, \
      ,at=rename or ,at=prune.
      """,
      valueName: "rank=R,step=S,kind=K"))
  var inject: String?

  func run() throws {
    // Before MPI and its threads.
    let (request, clock) = (StopRequest.bySignal(), JobClock())
    ClusterRuntime.run { cluster in
      try Pretraining.run(
        cluster, resume: ResumePolicy(resume), inject: inject, request: request, clock: clock
      ) {
        try options.resolve()
      }
    }
  }
}
