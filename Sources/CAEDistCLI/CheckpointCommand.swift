import ArgumentParser
import Training

struct CheckpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "checkpoint",
    abstract: "Lists, checks, merges, compares and removes checkpoints.",
    discussion: "Example: cae-dist checkpoint list runs/quickstart",
    subcommands: [
      List.self, Inspect.self, Verify.self, Merge.self, Diff.self, Prune.self,
    ])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The checkpoints of a run: age, size, and whether they are complete.",
      discussion: """
        Newest first. Sizes and checksums are looked at, the data is not read: that is what verify \
        does.

        Example: cae-dist checkpoint list runs/quickstart
        """)

    @Argument(help: "Output folder of a run.")
    var folder: String

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      runAlone {
        let listing = try CheckpointListing(run: folder)
        if json { try printJSON(listing) } else { listing.lines.forEach { print($0) } }
        return .success
      }
    }
  }

  struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Step, samples seen, hashes, shapes and configuration of a checkpoint.",
      discussion: """
        Every byte is checked first.

        Examples:
          cae-dist checkpoint inspect runs/quickstart --json
          cae-dist checkpoint inspect weights.h5 --configuration > run.yaml
        """)

    @Argument(help: "Checkpoint folder, merged file, or a run, for its newest one.")
    var path: String

    @Flag(name: .long, help: "Only the configuration of its run, for --config.")
    var configuration = false

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func validate() throws {
      guard !json || !configuration else {
        throw ValidationError("--json has the configuration; leave --configuration out")
      }
    }

    func run() throws {
      runAlone {
        let summary = try CheckpointSummary(path: path)
        if json {
          try printJSON(summary)
        } else if configuration {
          print(summary.configuration, terminator: "")
        } else {
          summary.lines.forEach { print($0) }
        }
        return .success
      }
    }
  }

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Reads every byte of checkpoints and compares it with its checksum.",
      discussion: """
        Ends with 1 where one is damaged or not complete, and names the file.

        Example: cae-dist checkpoint verify runs/quickstart
        """)

    @Argument(help: "Checkpoint folders, or runs with all of theirs.")
    var paths: [String]

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      runAlone {
        let verification = try CheckpointVerification(paths: paths) {
          if !json { print($0.line) }
        }
        if json { try printJSON(verification) }
        return verification.isClean ? .success : .failed
      }
    }
  }

  struct Merge: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes one HDF5 file of a checkpoint.",
      discussion: """
        The file has the same datasets and attributes, and needs no other one. A new run starts from \
        its weights by run.initializeFrom; a run resumes from checkpoint folders alone.

        Example: cae-dist checkpoint merge runs/quickstart/step-00000937 --output weights.h5
        """)

    @Argument(help: "Checkpoint folder, or a run, for its newest one.")
    var path: String

    @Option(name: .long, help: "File to write; must not exist.")
    var output: String

    func run() throws {
      runAlone {
        print(try CheckpointMerging.merge(path, to: output))
        return .success
      }
    }
  }

  struct Diff: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Where parameters, moments and buffers of two checkpoints differ, by how much.",
      discussion: """
        For each tensor with a difference: the largest one, its index, the same over the largest \
        magnitude in the tensor, and how many values differ; largest first. Values are compared by \
        their bits; NaN equals NaN, and differs infinitely (in JSON: null) from a number. Ends with \
        1 where there is a difference.

        Example: cae-dist checkpoint diff runs/a/step-00000937 runs/b/step-00000937
        """)

    @Argument(help: "Checkpoint folder, merged file, or a run, for its newest one.")
    var first: String

    @Argument(help: "Another one.")
    var second: String

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      runAlone {
        let comparison = try CheckpointComparison(first, second)
        if json { try printJSON(comparison) } else { comparison.lines.forEach { print($0) } }
        return comparison.isEqual ? .success : .failed
      }
    }
  }

  struct Prune: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Removes checkpoints of a run that nobody needs.",
      discussion: """
        Damaged ones, and what killed runs have left, go in any case. The last complete checkpoint \
        stays, but under --after, by which an earlier one can be resumed. A folder that a run is \
        using is refused.

        Examples:
          cae-dist checkpoint prune runs/small --keep-last 3 --keep-every 10000 --dry-run
          cae-dist checkpoint prune runs/small --after 20000
        """)

    @Argument(help: "Output folder of a run.")
    var folder: String

    @Option(name: .long, help: "Complete checkpoints that stay, the newest; 1 with --keep-every.")
    var keepLast: Int?

    @Option(name: .long, help: "Complete checkpoints of steps that this divides stay, too.")
    var keepEvery: Int?

    @Option(name: .long, help: "All checkpoints of later steps go, and no others.")
    var after: Int?

    @Flag(name: .long, help: "Only says what would go.")
    var dryRun = false

    func validate() throws {
      guard (keepLast ?? 1) > 0, (keepEvery ?? 1) > 0, (after ?? 0) >= 0 else {
        throw ValidationError("--keep-last and --keep-every must be above 0, --after not below it")
      }
      guard after == nil || keepLast == nil && keepEvery == nil else {
        throw ValidationError("--after is for itself; leave --keep-last and --keep-every out")
      }
    }

    func run() throws {
      runAlone {
        try CheckpointPruning(run: folder, rule: rule, isDryRun: dryRun).perform { print($0) }
        return .success
      }
    }

    private var rule: CheckpointPruning.Rule {
      if let after { return .after(step: after) }
      guard keepLast != nil || keepEvery != nil else { return .none }
      return .keep(last: keepLast ?? 1, every: keepEvery ?? 0)
    }
  }
}
