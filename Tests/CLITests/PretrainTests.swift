import Files
import Foundation
import HDF5
import TestSupport
import Testing

/// Real runs of the program, alone and by mpirun.
@Suite(.serialized, .enabled(if: Program.isBuilt, Program.whyNot))
struct PretrainTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func pretrain(
    _ output: String, ranks: Int? = nil, set: [String] = [], resume: String = "auto"
  ) -> (arguments: [String], output: String) {
    let path = tiny.folder.file(output)
    return (
      ["pretrain", "--config", tiny.configuration, "--output", path, "--resume", resume]
        + set.flatMap { ["--set", $0] }, path
    )
  }

  @Test func goodRunSaysWhatItDid() throws {
    let run = pretrain("good", set: ["logging.everySteps=4"])
    let ended = try Program.run(run.arguments)
    #expect(ended.code == 0, "\(ended)")
    #expect(ended.standardError.isEmpty, "\(ended)")
    for words in [
      "cae, ", "starting anew: no checkpoint in \(run.output)", "step 1/12", "step 8/12",
      "step 12/12", "checkpoint \(run.output)/step-00000012", "trained 12 steps, 192 images",
      "losses are in \(run.output)/metrics.jsonl", "next: cae-dist checkpoint inspect",
    ] {
      #expect(ended.standardOutput.contains(words), "\(words)")
    }
    #expect(try metrics(of: run.output).count == 12)
    let again = try Program.run(run.arguments)
    #expect(again.code == 0, "\(again)")
    #expect(again.standardOutput.contains("nothing to do"), "\(again)")
  }

  @Test(.enabled(if: Program.isLaunchable, Program.whyNotLaunched))
  func runOfTwoRanksGoesOnAlone() throws {
    let first = pretrain("job")
    let ended = try Program.run(first.arguments, ranks: 2)
    #expect(ended.code == 0, "\(ended)")
    #expect(ended.standardError.isEmpty, "\(ended)")
    #expect(ended.standardOutput.contains("2 ranks, BLAS kernels"), "\(ended)")
    #expect(try metrics(of: first.output).count == 12)
    #expect(try InspectedCheckpoint("\(first.output)/step-00000012").samplesSeen == 192)
    // The schedule changes with the epochs; what was done is not done again.
    let more = pretrain("job", set: ["schedule.epochs=3"])
    let resumed = try Program.run(more.arguments, ranks: 1)
    #expect(resumed.code == 0, "\(resumed)")
    #expect(resumed.standardOutput.contains("step-00000012: 12 steps done"), "\(resumed)")
    #expect(try metrics(of: first.output).count == 18)
    #expect(try InspectedCheckpoint("\(first.output)/step-00000018").step == 18)
  }

  @Test(.enabled(if: Program.isLaunchable, Program.whyNotLaunched))
  func oneRankOfMPIIsTheProgramAlone() throws {
    let (alone, launched) = (pretrain("alone"), pretrain("launched"))
    #expect(try Program.run(alone.arguments).code == 0)
    #expect(try Program.run(launched.arguments, ranks: 1).code == 0)
    #expect(try metrics(of: alone.output) == metrics(of: launched.output))
    #expect(
      try InspectedCheckpoint("\(alone.output)/step-00000012").parametersHash
        == InspectedCheckpoint("\(launched.output)/step-00000012").parametersHash)
  }

  /// Kills the run at some moment after its first checkpoint; the rest must not be seen.
  @Test(arguments: [0.0, 0.05, 0.13])
  func killedRunGoesOnAsIfNothingHadBeen(delay: Double) throws {
    let set = ["schedule.epochs=50", "checkpoint.everySteps=15"]
    let whole = pretrain("whole", set: set)
    #expect(try Program.run(whole.arguments).code == 0)
    let killed = pretrain("killed", set: set)
    let program = try Program(killed.arguments)
    while program.isRunning, !Files.exists("\(killed.output)/step-00000015") { usleep(500) }
    usleep(UInt32(delay * 1e6))
    program.kill()
    #expect(try program.end(within: 10).wasKilled, "the run was over before it could be killed")
    let resumed = try Program.run(killed.arguments)
    #expect(resumed.code == 0, "\(resumed)")
    #expect(resumed.standardOutput.contains("resuming \(killed.output)/step-"), "\(resumed)")
    #expect(try metrics(of: killed.output) == metrics(of: whole.output))
    #expect(
      try InspectedCheckpoint("\(killed.output)/step-00000300").parametersHash
        == InspectedCheckpoint("\(whole.output)/step-00000300").parametersHash)
    // Every start of a run has a file for TensorBoard.
    let names = { TemporaryFolder.names(in: $0).filter { !$0.hasPrefix("events.out") } }
    #expect(
      names(killed.output) == names(whole.output), "nothing is left of the interrupted write")
  }

  @Test func absurdLearningRateIsCode1() throws {
    let run = pretrain(
      "absurd", set: ["optimizer.learningRate=1e30", "schedule.warmupEpochs=0"])
    let ended = try Program.run(run.arguments)
    #expect(ended.code == 1, "\(ended)")
    #expect(ended.errorLines.count == 1, "\(ended)")
    #expect(ended.standardError.contains("is not a finite number"), "\(ended)")
    #expect(ended.standardError.contains("optimizer.learningRate"), "\(ended)")
  }

  @Test(.enabled(if: Program.isLaunchable, Program.whyNotLaunched))
  func tokenizerIsTheSameFromAnyNumberOfRanks() throws {
    var codebooks: [[Float]] = []
    for ranks in [nil, 2, 3] as [Int?] {
      let file = tiny.folder.file("tokenizer-\(ranks ?? 0).h5")
      let ended = try Program.run(
        [
          "tokenizer", "fit", "--config", tiny.configuration, "--vocabulary", "12",
          "--iterations", "2", "--file", file,
        ], ranks: ranks)
      #expect(ended.code == 0, "\(ended)")
      // Not the bytes of the file: it says when it was made.
      codebooks.append(try HDF5File(path: file, .readOnly).root.dataset("codebook").read())
    }
    #expect(codebooks[0].count == 12 * 16)
    #expect(codebooks[0] == codebooks[1])
    #expect(codebooks[0] == codebooks[2])
  }

  @Test func tokenizerFileMayBeABareName() throws {
    let folder = try TemporaryFolder("bare")
    let ended = try Program.run(
      [
        "tokenizer", "fit", "--config", tiny.configuration, "--vocabulary", "4", "--iterations",
        "1", "--file", "tokenizer.h5",
      ], folder: folder.path)
    #expect(ended.code == 0, "\(ended)")
    #expect(Files.exists(folder.file("tokenizer.h5")))
  }

  @Test func tokenizerFileGoesWhereItIsTold() throws {
    let folder = try TemporaryFolder("relative")
    let ended = try Program.run([
      "tokenizer", "fit", "--config", tiny.configuration, "--vocabulary", "4", "--iterations", "1",
      "--file", folder.file("new/deep/tokenizer.h5"),
    ])
    #expect(ended.code == 0, "\(ended)")
    #expect(Files.exists(folder.file("new/deep/tokenizer.h5")))
  }
}
