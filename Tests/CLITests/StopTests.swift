import Files
import Foundation
import TestSupport
import Testing

/// Runs that are asked to stop by a signal, and go on by the same command.
@Suite(.serialized, .enabled(if: Program.isLaunchable, Program.whyNotLaunched))
struct StopTests {
  private let tiny: TinyRun
  private static let ranks = 4
  /// The same bits on one rank and on four.
  private static let settings = ["parallelism.deterministic=true", "schedule.epochs=100"]
  private static let steps = 600

  init() throws { tiny = try TinyRun() }

  private enum Target: Hashable {
    case launcher
    case rank(Int)
  }

  private func arguments(_ output: String, _ set: [String]) -> [String] {
    ["pretrain", "--config", tiny.configuration, "--output", tiny.folder.file(output)]
      + (Self.settings + set).flatMap { ["--set", $0] }
  }

  /// The processes of a run, once all are there and listen.
  private func processes(of program: Program, _ output: String) throws -> [Target: Int32] {
    var found: [Target: Int32] = [:]
    while program.isRunning, found.count < Self.ranks + 1 {
      for process in Program.running(with: tiny.folder.file(output)) {
        let name = try? Files.readText("/proc/\(process)/comm")
        if name == "mpirun\n" { found[.launcher] = process }
        guard name == "cae-dist\n", listens(process),
          let environment = try? Files.readText("/proc/\(process)/environ"),
          let rank = environment.firstMatch(of: /OMPI_COMM_WORLD_RANK=(\d+)/).flatMap({ Int($0.1) })
        else { continue }
        found[.rank(rank)] = process
      }
    }
    return found
  }

  /// Whether a process catches SIGUSR1.
  private func listens(_ process: Int32) -> Bool {
    let status = (try? Files.readText("/proc/\(process)/status")) ?? ""
    let caught = status.firstMatch(of: /SigCgt:\s*([0-9a-f]+)/).flatMap { UInt64($0.1, radix: 16) }
    return (caught ?? 0) >> UInt64(SIGUSR1 - 1) & 1 == 1
  }

  private func stepsDone(_ output: String) -> Int {
    (try? metrics(of: tiny.folder.file(output)).count) ?? 0
  }

  /// Starts a run on four ranks, and sends the signal when `isDue`.
  private func stop(
    _ output: String, _ target: Target, set: [String] = [], when isDue: () -> Bool
  ) throws -> Ended {
    let program = try Program(arguments(output, set), ranks: Self.ranks)
    let process = try processes(of: program, output)[target]
    while program.isRunning, !isDue() { usleep(1000) }
    #expect(program.isRunning, "the run was over before the signal")
    #expect(process != nil)
    let sent = Date()
    if let process { kill(process, SIGUSR1) }
    let ended = try program.end(within: 60)
    let seconds = Date().timeIntervalSince(sent)
    print("SIGUSR1 to \(target), \(set): ended after \(seconds) s")
    #expect(ended.code == 75, "\(ended)")
    #expect(ended.standardError.isEmpty, "\(ended)")
    #expect(seconds < 10, "\(ended)")
    return ended
  }

  /// The step that a stopped run says to have saved, which it has.
  private func savedStep(_ ended: Ended, _ output: String) throws -> Int {
    let match = try #require(
      ended.standardOutput.firstMatch(
        of: /\nstopped on request after step (\d+), checkpoint (\S+); the same command goes on/),
      "\(ended)")
    let step = try #require(Int(match.1))
    #expect(try InspectedCheckpoint(String(match.2)).step == step)
    #expect(stepsDone(output) == step)
    return step
  }

  /// The same command again, to the end, against a run that was left alone.
  private func expectGoesOn(
    _ output: String, set: [String] = [], steps: Int = StopTests.steps,
    comparesMetrics: Bool = true
  ) throws {
    let resumed = try Program.run(arguments(output, set), ranks: Self.ranks)
    #expect(resumed.code == 0, "\(resumed)")
    #expect(try Program.run(arguments("whole", set)).code == 0)
    let checkpoints = try [output, "whole"].map { try checkpoint(of: $0, step: steps) }
    #expect(checkpoints[0].parametersHash == checkpoints[1].parametersHash)
    guard comparesMetrics else { return }
    #expect(
      try metrics(of: tiny.folder.file(output)) == metrics(of: tiny.folder.file("whole")))
  }

  private func checkpoint(of output: String, step: Int) throws -> InspectedCheckpoint {
    try InspectedCheckpoint(
      tiny.folder.file(output) + "/step-" + String(format: "%08d", step))
  }

  /// Steps of one micro-batch, and of four, a rank.
  @Test(arguments: [
    ("launcher", 4), ("launcher", 1), ("first", 4), ("first", 1), ("third", 4), ("third", 1),
  ])
  func signalInTraining(to name: String, microBatchSize: Int) throws {
    let target = ["first": Target.rank(0), "third": .rank(2)][name] ?? .launcher
    let set = ["parallelism.microBatchSize=\(microBatchSize)"]
    let ended = try stop("parts", target, set: set) { stepsDone("parts") >= 5 }
    let step = try savedStep(ended, "parts")
    #expect(step >= 5 && step < Self.steps)
    try expectGoesOn("parts", set: set)
  }

  @Test func signalBeforeTheFirstStep() throws {
    let ended = try stop("parts", .launcher) { true }
    #expect(ended.standardOutput.contains("stopped on request before a step was done"), "\(ended)")
    #expect(stepsDone("parts") == 0)
    try expectGoesOn("parts")
  }

  /// An evaluation that would take very long follows the second step.
  @Test func signalInAnEvaluation() throws {
    let set = [
      "data.validation=[\"\(tiny.validation)\"]", "logging.validateEverySteps=2",
    ]
    var reached: Date?
    let ended = try stop("parts", .rank(3), set: set + ["logging.validationBatches=10000000"]) {
      if reached == nil, stepsDone("parts") == 1 { reached = Date() }
      return reached.map { Date().timeIntervalSince($0) > 2 } ?? false
    }
    #expect(try savedStep(ended, "parts") == 2)
    #expect(try metrics(of: tiny.folder.file("parts")).allSatisfy { !$0.contains("validation") })
    try expectGoesOn(
      "parts", set: set + ["logging.validationBatches=1"], comparesMetrics: false)
  }

  /// Before there is a checkpoint, saving is thought to take 5 s.
  @Test func timeLimitWithinTheRun() throws {
    let set = ["schedule.epochs=400"]
    let ended = try Program.run(arguments("parts", set + ["run.timeLimit=0:08"]), ranks: Self.ranks)
    #expect(ended.code == 75, "\(ended)")
    #expect(ended.seconds < 8, "\(ended)")
    #expect(
      ended.standardOutput.contains("stopped before its time limit of 0:08 after step "), "\(ended)"
    )
    let done = stepsDone("parts")
    #expect(done > 0)
    #expect(try checkpoint(of: "parts", step: done).step == done)
    try expectGoesOn("parts", set: set, steps: 2400)
  }

  @Test func timeLimitThatIsTooShort() throws {
    for _ in 0..<2 {
      let ended = try Program.run(arguments("parts", ["run.timeLimit=0:05"]), ranks: Self.ranks)
      #expect(ended.code == 75, "\(ended)")
      #expect(stepsDone("parts") == 0)
    }
    try expectGoesOn("parts")
    // Nothing is left to do, so that there is no need to run again.
    let again = try Program.run(arguments("parts", ["run.timeLimit=0:05"]), ranks: Self.ranks)
    #expect(again.code == 0, "\(again)")
  }

  /// Without mpirun, too.
  @Test func signalToOneProcess() throws {
    let set = ["schedule.epochs=2000"]
    let program = try Program(arguments("parts", set))
    while program.isRunning, stepsDone("parts") < 5 { usleep(1000) }
    let process = try #require(Program.running(with: tiny.folder.file("parts")).first)
    kill(process, SIGUSR1)
    let ended = try program.end(within: 60)
    #expect(ended.code == 75, "\(ended)")
    _ = try savedStep(ended, "parts")
  }
}
