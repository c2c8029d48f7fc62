import ArgumentParser
import Foundation
import Training

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "What a pretrained encoder is worth: nearest neighbours, probes, fine-tuning.",
    discussion: "Example: mpirun -n 8 cae-dist evaluate knn runs/quickstart",
    subcommands: [Knn.self, Linear.self, Attentive.self, Finetune.self])

  struct Knn: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Classifies by the nearest training images; trains nothing.",
      discussion: """
        The k images with the largest cosine vote with weight exp(cosine / 0.07).

        Examples:
          mpirun -n 8 cae-dist evaluate knn runs/quickstart
          mpirun -n 8 cae-dist evaluate knn runs/quickstart --encoder pixels --json
        """)

    @OptionGroup var options: EvaluationOptions
    @OptionGroup var kind: FeatureOption

    @Option(name: .long, help: "Images that vote.")
    var neighbours = 20

    func run() throws {
      try options.run {
        var request = try options.request(.nearestNeighbours(count: neighbours))
        request.features = try kind.value()
        return request
      }
    }
  }

  struct Linear: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Trains a linear classifier on frozen features.",
      discussion: """
        Batch norm without weights, then one linear layer, by LARS. The defaults are the published \
        recipe for ImageNet; small data sets want smaller batches. Killed, it goes on from the last \
        epoch when the same command is given again.

        Examples:
          mpirun -n 32 cae-dist evaluate linear runs/base --train shards/train --validation shards/val
          mpirun -n 8 cae-dist evaluate linear runs/quickstart --batch-size 1024 --views plain
        """)

    @OptionGroup var options: EvaluationOptions
    @OptionGroup var kind: FeatureOption
    @OptionGroup var probe: ProbeArguments

    @Option(name: .long, help: "The learning rate is this times the batch / 256.")
    var baseLearningRate = 0.1

    func run() throws {
      try options.run {
        let size = probe.batchSize ?? ProbeOptions.linear.batchSize
        var settings = try probe.options(.linear)
        settings.learningRate = baseLearningRate * Double(size) / 256
        var request = try options.request(.linear(settings))
        request.features = try kind.value()
        request.head = probe.head
        return request
      }
    }
  }

  struct Attentive: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Trains a learned query that attends over all frozen tokens, and a classifier.",
      discussion: """
        By SGD with Nesterov's momentum. The defaults are the published recipe for ImageNet. Results \
        with running statistics and with those of each batch, as CAE's own code has them.

        Examples:
          mpirun -n 32 cae-dist evaluate attentive runs/base --train shards/train --validation shards/val
          mpirun -n 8 cae-dist evaluate attentive runs/quickstart --batch-size 1024 --views plain
        """)

    @OptionGroup var options: EvaluationOptions
    @OptionGroup var probe: ProbeArguments

    @Option(name: .long, help: "Absolute, whatever the batch.")
    var learningRate = 0.4

    func run() throws {
      try options.run {
        var settings = try probe.options(.attentive)
        settings.learningRate = learningRate
        var request = try options.request(.attentive(settings))
        request.head = probe.head
        return request
      }
    }
  }

  struct Finetune: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Trains encoder and classifier together, on all labels or a few.",
      discussion: """
        A run of the method supervised that starts from the encoder: AdamW with layer-wise learning \
        rates, relative position bias, RandAugment, random erasing, Mixup, CutMix, label smoothing. \
        The defaults are the published recipe for ImageNet, its learning rate scaled by batch / 4096. \
        Checkpoints, metrics and configuration are in the folder of the result; stopped or killed, \
        the same command goes on.

        Examples:
          mpirun -n 32 cae-dist evaluate finetune runs/base --train shards/train --validation shards/val
          mpirun -n 8 cae-dist evaluate finetune runs/quickstart --epochs 30 --batch-size 128 \
            --learning-rate 2e-3 --train-images 600 --set method.mixup=0
        """)

    @OptionGroup var options: EvaluationOptions

    @Option(name: .long, help: "Passes over the training images; 100, ViT-L 50 by default.")
    var epochs: Double?

    @Option(name: .long, help: "Images of an update over all ranks; 4096 by default.")
    var batchSize: Int?

    @Option(
      name: .long,
      help: "Of the last layers, whatever the batch; 8e-3 x batch / 4096, ViT-L 2e-3 by default.")
    var learningRate: Double?

    @Option(
      name: .long,
      help: "Training images that are used, spread evenly over the shards; all by default.")
    var trainImages: Int?

    @Option(
      name: .long,
      help: ArgumentHelp(
        "Overrides one value of the run's configuration, such as method.layerDecay=0.75.",
        valueName: "section.key=value"))
    var set: [String] = []

    func run() throws {
      // Before MPI and its threads.
      let (stop, clock) = (StopRequest.bySignal(), JobClock())
      ClusterRuntime.run { cluster in
        try FineTuning.run(
          cluster, request, stop: stop, clock: clock, showsProgress: !options.json,
          log: options.log, report: options.report)
      }
    }

    private func request() throws -> FineTuning.Request {
      var request = FineTuning.Request(checkpoint: options.checkpoint)
      request.source = try EncoderSource(option: options.encoder)
      (request.train, request.validation) = (options.train, options.validation)
      (request.classes, request.output) = (options.classes, options.output)
      (request.options.epochs, request.options.batchSize) = (epochs, batchSize)
      request.options.learningRate = learningRate
      request.options.trainImages = trainImages
      request.options.overrides = set
      return request
    }
  }
}

/// What all evaluations take.
struct EvaluationOptions: ParsableArguments {
  @Argument(help: "A run, whose newest checkpoint is taken, a checkpoint, or a merged file.")
  var checkpoint: String

  @Option(
    name: .long,
    help: "Whose features: pretrained, untrained (the weights that the run began with), or pixels.")
  var encoder = "pretrained"

  @Option(name: .long, help: "Labelled shards to learn from; the run's own by default.")
  var train: [String] = []

  @Option(name: .long, help: "Labelled shards to be judged on; the run's own by default.")
  var validation: [String] = []

  @Option(name: .long, help: "Number of classes, where the shards name none.")
  var classes: Int?

  @Option(name: .long, help: "Folder for results; evaluations in the run's folder by default.")
  var output: String?

  @Flag(name: .long, help: "One JSON object on standard output.")
  var json = false

  func request(_ recipe: EvaluationRequest.Recipe) throws -> EvaluationRequest {
    var request = EvaluationRequest(recipe, checkpoint: checkpoint)
    request.source = try EncoderSource(option: encoder)
    (request.train, request.validation) = (train, validation)
    (request.classes, request.output) = (classes, output)
    return request
  }

  func run(_ request: () throws -> EvaluationRequest) throws {
    ClusterRuntime.run { cluster in
      try Evaluation.run(cluster, request, log: log, report: report)
    }
  }

  func log(_ line: String) { if !json { printLine(line) } }

  func report(_ result: EvaluationResult) throws {
    if json { try printJSON(result) } else { result.lines.forEach { printLine($0) } }
  }
}

struct FeatureOption: ParsableArguments {
  @Option(name: .long, help: "Features of an image: class (token) or mean (of its patches).")
  var features = "class"

  func value() throws -> FeatureKind { try FeatureKind(option: features) }
}

/// What both probes take.
struct ProbeArguments: ParsableArguments {
  @Option(name: .long, help: "Passes over the training images; 90 by default.")
  var epochs: Double?

  @Option(name: .long, help: "Epochs in which the learning rate rises; a ninth of all by default.")
  var warmupEpochs: Double?

  @Option(name: .long, help: "Images of an update over all ranks; linear 16384, attentive 8192.")
  var batchSize: Int?

  @Option(
    name: .long,
    help: """
      Pictures of a training image: fresh (a new crop every epoch), plain (the middle, as in \
      validation), or a number of fixed ones; features of the last two are computed once.
      """)
  var views = "fresh"

  @Option(name: .long, help: "Batch norm's statistics in training: of all ranks, or of each rank.")
  var statistics = "all"

  @Option(name: .long, help: "Of all random numbers.")
  var seed = 0

  @Option(name: .long, help: "A trained head (.h5), which is only evaluated.")
  var head: String?

  func options(_ published: ProbeOptions) throws -> ProbeOptions {
    var options = published
    options.epochs = epochs ?? published.epochs
    options.warmupEpochs = warmupEpochs ?? options.epochs / 9
    options.batchSize = batchSize ?? published.batchSize
    options.views = try ProbeViews(views)
    options.statistics = try BatchScope(option: statistics)
    options.seed = seed
    return options
  }
}

/// A line that is seen at once, also through a pipe.
func printLine(_ text: String) {
  FileHandle.standardOutput.write(Data((text + "\n").utf8))
}
