import ArgumentParser
import Diagnostics
import Training

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measures this machine.",
    subcommands: [
      Step.self, Gemm.self, Tokenizer.self, Teacher.self, Allreduce.self, Loader.self,
      Checkpoint.self,
    ])

  /// What is measured.
  struct Workload: ParsableArguments {
    @Option(name: .long, help: "tiny, small, base or large.")
    var model = "base"

    @Option(name: .long, help: "Images of a step of a rank.")
    var batch = 16

    @Option(name: .long, help: "Kernel threads.")
    var threads = 1

    @Option(name: .long, help: "Side of the images in pixels.")
    var imageSize = 224

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false
  }

  struct Step: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Full CAE training steps on generated images, against the products alone.",
      discussion: """
        Under mpirun each rank runs a batch of its own, and the ranks exchange gradients.

        Example: cae-dist bench step --model base --batch 16 --threads 2 \
        --set parallelism.activationCheckpointing=blocks
        """)

    @OptionGroup var workload: Workload

    @Option(name: .long, help: "Steps to time, after one that is not.")
    var repeats = 5

    @Option(
      name: .long,
      help: ArgumentHelp(
        "Overrides a value of the configuration; may be repeated.", valueName: "section.key=value"))
    var set: [String] = []

    func run() throws {
      ClusterRuntime.run { cluster in
        let options = StepBenchmark.Options(
          model: workload.model, batch: workload.batch, threads: workload.threads,
          imageSize: workload.imageSize, repeats: repeats, overrides: set)
        guard let report = try StepBenchmark.run(options, on: cluster) else { return .success }
        if workload.json { try printJSON(report) } else { report.lines.forEach { print($0) } }
        return .success
      }
    }
  }

  struct Gemm: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The matrix products of a CAE step alone.",
      discussion: "Example: cae-dist bench gemm --model base --batch 16 --threads 2")

    @OptionGroup var workload: Workload

    func run() throws {
      runAlone {
        let report = try ProductBenchmark.run(
          model: workload.model, batch: workload.batch, threads: workload.threads,
          imageSize: workload.imageSize)
        if workload.json { try printJSON(report) } else { report.lines.forEach { print($0) } }
        return .success
      }
    }
  }

  struct Loader: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Images that the data loader makes, by stage, and reading against plain read().",
      discussion: """
        Random resized crops with flips, as in training, from the given shards.

        Example: cae-dist bench loader shards/train --threads 2
        """)

    @Argument(help: "Shard files, or folders of them.")
    var paths: [String]

    @Option(name: .long, help: "Side of the crops in pixels.")
    var imageSize = 224

    @Option(name: .long, help: "Threads that decode.")
    var threads = 1

    @Option(name: .long, help: "Images to load, after 64 that do not count.")
    var images = 4096

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func validate() throws {
      guard imageSize > 0, threads > 0, images > 0 else {
        throw ValidationError("--image-size, --threads and --images must be above 0")
      }
    }

    func run() throws {
      runAlone {
        let report = try LoaderBenchmark.run(
          LoaderBenchmark.Options(
            paths: paths, imageSize: imageSize, threads: threads, images: images))
        if json { try printJSON(report) } else { report.lines.forEach { print($0) } }
        return .success
      }
    }
  }

  struct Tokenizer: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Tokens of the DALL-E encoder, beside a training step of CAE-B.",
      discussion: """
        Published sizes, random weights. Takes 4 GB with 16 images.

        Example: cae-dist bench tokenizer --threads 2 --images 16
        """)

    @Option(name: .long, help: "Kernel threads.")
    var threads = 1

    @Option(name: .long, help: "Images of a step of a rank.")
    var images = 16

    @Option(name: .long, help: "Runs to time, after one that is not.")
    var repeats = 3

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      ClusterRuntime.run { cluster in
        let options = TokenizerBenchmark.Options(
          threads: threads, images: images, repeats: repeats)
        guard let report = try TokenizerBenchmark.run(options, on: cluster) else {
          return .success
        }
        if json { try printJSON(report) } else { report.lines.forEach { print($0) } }
        return .success
      }
    }
  }

  struct Teacher: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Features of a teacher, beside training steps of CAE v2 that are given them.",
      discussion: """
        Images of 14 x 14 patches, of which CAE v2 masks 98. Takes 8 GB with 16 images for base.

        Example: cae-dist bench teacher clip.safetensors --threads 2 --images 16
        """)

    @Argument(help: "File of the teacher's weights.")
    var teacher: String

    @Option(name: .long, help: "tiny, small, base or large.")
    var model = "base"

    @Option(name: .long, help: "Kernel threads.")
    var threads = 1

    @Option(name: .long, help: "Images of a step.")
    var images = 16

    @Option(name: .long, help: "Steps to time, after one that is not.")
    var repeats = 3

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      runAlone {
        let report = try TeacherBenchmark.run(
          TeacherBenchmark.Options(
            teacher: teacher, model: model, threads: threads, images: images, repeats: repeats))
        if json { try printJSON(report) } else { report.lines.forEach { print($0) } }
        return .success
      }
    }
  }

  struct Allreduce: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The exchange of gradients, against MPI_Allreduce and the links between hosts.",
      discussion: """
        On all ranks of a job. Measures the link between two hosts too, where there are any.

        Example: mpirun -n 4 cae-dist bench allreduce --bytes 104857600 --wire bfloat16
        """)

    @Option(name: .long, help: "Bytes of the Float gradients of a rank.")
    var bytes = 25 << 20

    @Option(name: .long, help: "float32 or bfloat16.")
    var wire = "float32"

    @Option(name: .long, help: "Bound by links of this rate, not by the measured one.")
    var linkGbit: Double?

    @Option(name: .long, help: "Bytes of a bucket; by default that of training.")
    var bucketBytes: Int?

    @Option(name: .long, help: "Exchanges to time, after one that is not.")
    var repeats = 10

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      ClusterRuntime.run { cluster in
        let options = AllReduceBenchmark.Options(
          bytes: bytes, wire: wire, linkGbit: linkGbit, bucketBytes: bucketBytes,
          repeats: repeats)
        guard let report = try AllReduceBenchmark.run(options, on: cluster) else { return .success }
        if json { try printJSON(report) } else { report.lines.forEach { print($0) } }
        return .success
      }
    }
  }

  struct Checkpoint: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What a checkpoint costs: waiting, against a copy; writing, against plain writes.",
      discussion: """
        On all ranks of a job. Writes and removes checkpoints of a model with random weights.

        Example: mpirun -n 8 cae-dist bench checkpoint --model base --folder /scratch/bench
        """)

    @Option(name: .long, help: "tiny, small, base or large.")
    var model = "base"

    @Option(name: .long, help: "Kernel threads.")
    var threads = 1

    @Option(name: .long, help: "Empty or new folder on the file system that is measured.")
    var folder: String

    @Option(name: .long, help: "Checkpoints to time, after one that is not.")
    var repeats = 5

    @Option(
      name: .long,
      help: ArgumentHelp(
        "Overrides a value of the configuration; may be repeated.", valueName: "section.key=value"))
    var set: [String] = []

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func validate() throws {
      guard threads > 0, repeats > 0 else {
        throw ValidationError("--threads and --repeats must be above 0")
      }
    }

    func run() throws {
      ClusterRuntime.run { cluster in
        let options = CheckpointBenchmark.Options(
          model: model, threads: threads, folder: folder, repeats: repeats, overrides: set)
        guard let report = try CheckpointBenchmark.run(options, on: cluster) else {
          return .success
        }
        if json { try printJSON(report) } else { report.lines.forEach { print($0) } }
        return .success
      }
    }
  }
}
