public import DataParallel
import Files
import Foundation
import Interfaces
import Models
import NN
import ShardedData

/// `cae-dist evaluate finetune`: trains encoder and classifier together, a run of the method
/// `supervised`, and judges it on the validation images.
public enum FineTuning {
  public struct Request: Sendable {
    /// A run, a checkpoint, or a merged file.
    public var checkpoint: String
    /// Untrained: the same model from scratch.
    public var source = EncoderSource.pretrained
    /// Labelled shards; empty: those of the run.
    public var train: [String] = []
    public var validation: [String] = []
    /// Where the shards name none.
    public var classes: Int?
    /// Folder of results; nil: `evaluations` beside the checkpoint.
    public var output: String?
    public var options = FineTuneOptions()

    public init(checkpoint: String) { self.checkpoint = checkpoint }

    /// Names the files of the result and the folder of the run.
    func name(step: Int) -> String {
      let part = options.trainImages.map { ["\($0)-images"] } ?? []
      return (["finetune"] + part + [source.stateName(step: step)]).joined(separator: "-")
    }
  }

  /// Collective: every rank calls it with the same request. Blocking.
  ///
  /// - Parameters:
  ///   - stop: Made on any rank, it stops the run, with exit code 75; the same call goes on.
  ///   - showsProgress: Writes a line of progress to standard output, beside what `log` gets.
  ///   - log: Gets lines on the first rank.
  ///   - report: Gets the result there.
  public static func run(
    _ cluster: Cluster, _ request: () throws -> Request, stop: StopRequest, clock: JobClock,
    showsProgress: Bool, log: @escaping (String) -> Void,
    report: (EvaluationResult) throws -> Void
  ) throws -> ExitCode {
    var job = TrainingJob(cluster.group, cluster.stallGuard, log: log)
    (job.request, job.clock, job.showsProgress) = (stop, clock, showsProgress)
    job.transport = cluster.transport
    job.mayOversubscribe = cluster.mayOversubscribe
    return try run(job, request, report: report)
  }

  /// What another fine-tuning differs in, beside what no run may change.
  private static let fixedKeys = [["optimizer"], ["schedule"], ["run", "initializeFrom"]]

  static func run(
    _ given: TrainingJob, _ request: () throws -> Request,
    report: (EvaluationResult) throws -> Void
  ) throws -> ExitCode {
    var job = given
    job.fixedKeys = fixedKeys
    let (group, started) = (job.group, ProcessInfo.processInfo.systemUptime)
    let agreement = Agreement(group)
    let request = try agreement.run(request)
    let found = try AgreedCheckpoint(request.checkpoint, agreement)
    let step = request.source == .pretrained ? found.step : 0
    let folder = EvaluationResult.folder(request.output, of: found.path)
    let files = "\(folder)/\(request.name(step: step))"
    let resolved = try agreement.run {
      if group.rank == 0 { try Files.makeDirectory(folder) }
      return try configuration(request, found, output: files, worldSize: group.worldSize)
    }
    let (run, outcome) = try job.train(resolved)
    if outcome == .nothingToDo { job.say("it is trained already, and is judged again") }
    guard outcome != .stopped, let classifier = run.method as? any ClassifierMethod else {
      return outcome.code
    }
    let evaluation = try agreement.run { try ClassifierEvaluation(run, classifier, limit: nil) }
    let accuracy = try evaluation.evaluate()
    var result = EvaluationResult(
      protocol: "finetune", encoder: request.source, features: FeatureKind.mean.rawValue,
      checkpoint: found.path, step: step, top1: accuracy.top1Share, top5: accuracy.top5Share,
      count: accuracy.count, classes: classifier.classes, seconds: 0, files: files)
    result.recipe = text(of: run)
    result.trainImages = request.options.trainImages
    try agreement.run {
      guard group.rank == 0 else { return }
      (result.bestTop1, result.bestEpoch) = try best(of: run, last: accuracy.top1Share)
      result.seconds = ProcessInfo.processInfo.systemUptime - started
      try result.write(accuracy.confusion, classNames: evaluation.images.index.classNames)
      try report(result)
    }
    return .success
  }

  private static func configuration(
    _ request: Request, _ found: AgreedCheckpoint, output: String, worldSize: Int
  ) throws -> ResolvedConfiguration {
    guard request.source != .pixels else {
      throw ConfigurationError("--encoder", "must be pretrained or untrained, not pixels")
    }
    let training = found.configuration.training
    let place = FineTunePlace(
      train: request.train.isEmpty ? training.data.train : request.train,
      validation: request.validation.isEmpty ? training.data.validation : request.validation,
      initializeFrom: request.source == .pretrained ? found.path : "", output: output)
    let (train, validation) = try LabelledImages.pair(
      train: place.train, validation: place.validation, classes: request.classes, training)
    return try request.options.configuration(
      from: found.configuration, place, images: train.count, classes: train.classes,
      validationImages: validation.count, worldSize: worldSize)
  }

  /// Of the evaluations that the run has logged, and that of its last step.
  private static func best(
    of run: TrainingRun, last: Double
  ) throws -> (top1: Double, epoch: Int) {
    let lines = try Files.readText("\(run.output)/metrics.jsonl").split(separator: "\n")
    var best = (top1: last, epoch: run.configuration.training.schedule.epochs)
    for line in lines where line.contains("validationTop1") {
      guard
        let values = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
        let top1 = values["validationTop1"] as? Double, let epoch = values["epoch"] as? Double
      else { continue }
      if top1 > best.top1 { best = (top1, epoch) }
    }
    return (best.top1, Int(best.epoch.rounded(.up)))
  }

  private static func text(of run: TrainingRun) -> String {
    let training = run.configuration.training
    return "epochs \(training.schedule.epochs), batch \(training.parallelism.globalBatchSize), "
      + "learning rate \(training.optimizer.learningRate), "
      + "layer decay \(run.configuration.methodValue("layerDecay") ?? ""), "
      + "drop path \(training.model.dropPathRate), \(run.trainImages.count) training images, "
      + "seed \(training.run.seed)"
  }
}
