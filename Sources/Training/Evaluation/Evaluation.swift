public import DataParallel
import Files
import Foundation
import Interfaces
import ShardedData

/// `cae-dist evaluate`: what an encoder is worth.
public enum Evaluation {
  /// Collective: every rank calls it with the same request. Blocking. The first rank writes the
  /// result, its confusion matrix and the head.
  ///
  /// - Parameters:
  ///   - log: Gets progress on the first rank.
  ///   - report: Gets the result there.
  public static func run(
    _ cluster: Cluster, _ request: () throws -> EvaluationRequest,
    log: @escaping (String) -> Void, report: (EvaluationResult) throws -> Void
  ) throws -> ExitCode {
    try run(cluster.group, request, log: log, report: report)
    return .success
  }

  static func run(
    _ group: any ProcessGroup, _ request: () throws -> EvaluationRequest,
    log: @escaping (String) -> Void, report: (EvaluationResult) throws -> Void
  ) throws {
    let agreement = Agreement(group)
    let started = ProcessInfo.processInfo.systemUptime
    let setup = try EvaluationSetup(try agreement.run(request), group, log: log)
    let folder = EvaluationResult.folder(setup.request.output, of: setup.encoder.path)
    try agreement.run { if group.rank == 0 { try Files.makeDirectory(folder) } }
    let files = "\(folder)/\(setup.request.name(step: setup.encoder.step))"
    var (result, accuracy) = try evaluate(setup, files: files)
    result.seconds = ProcessInfo.processInfo.systemUptime - started
    try agreement.run {
      guard group.rank == 0 else { return }
      try result.write(accuracy.confusion, classNames: setup.train.index.classNames)
      try report(result)
    }
  }

  /// The head that an evaluation of a run's checkpoint has left; nil: none.
  public static func head(
    of recipe: EvaluationRequest.Recipe, run: String, step: Int
  ) -> String? {
    let name = EvaluationRequest(recipe, checkpoint: run).name(step: step)
    let path = "\(run)/\(EvaluationResult.folderName)/\(name).h5"
    return Files.exists(path) ? path : nil
  }

  private static func evaluate(
    _ setup: EvaluationSetup, files: String
  ) throws -> (EvaluationResult, Accuracy) {
    switch setup.request.recipe {
    case .nearestNeighbours(let count):
      return try nearestNeighbours(setup, count: count, files: files)
    case .linear(let options), .attentive(let options):
      try setup.agreement.run {
        // A head that is not trained has no batches.
        guard setup.request.head == nil else { return }
        try options.validate(worldSize: setup.group.worldSize, samples: setup.train.count)
      }
      try setup.prepareValidation()
      let probe = try ProbeEvaluation(setup, options, file: "\(files).h5")
      let (found, best) = try probe.run()
      var result = result(setup, found.running, files: files)
      result.batchStatisticsTop1 = found.batch.top1Share
      result.batchStatisticsTop5 = found.batch.top5Share
      result.bestTop1 = best?.bestTop1
      result.bestEpoch = best?.bestEpoch
      result.recipe = setup.request.head.map { "head of \($0)" } ?? options.text
      return (result, found.running)
    }
  }

  private static func nearestNeighbours(
    _ setup: EvaluationSetup, count: Int, files: String
  ) throws -> (EvaluationResult, Accuracy) {
    let bank = try setup.store(setup.train, transform: setup.plainTransform, name: "training")
    let queries = try setup.store(
      setup.validation, transform: setup.plainTransform, name: "validation")
    let search = NearestNeighbours(
      bank: bank, neighbours: min(count, bank.count), classes: setup.train.classes,
      pool: setup.pool)
    let plain = try search.accuracy(of: queries, isCentred: false, setup.group)
    let centred = try search.accuracy(of: queries, isCentred: true, setup.group)
    var result = result(setup, plain, files: files)
    result.centredTop1 = centred.top1Share
    result.centredTop5 = centred.top5Share
    result.recipe = "k \(count), cosine, votes weighted by exp(cosine / 0.07)"
    return (result, plain)
  }

  private static func result(
    _ setup: EvaluationSetup, _ accuracy: Accuracy, files: String
  ) -> EvaluationResult {
    EvaluationResult(
      protocol: setup.request.recipe.name, encoder: setup.request.source,
      features: setup.request.source == .pixels ? "pixel" : setup.request.kind.rawValue,
      checkpoint: setup.encoder.path, step: setup.encoder.step, top1: accuracy.top1Share,
      top5: accuracy.top5Share, count: accuracy.count, classes: setup.train.classes, seconds: 0,
      files: files)
  }
}
