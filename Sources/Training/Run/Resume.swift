import DataParallel
import Files
import Interfaces
import Models
import NN

/// Where a run starts from.
public enum ResumePolicy: Sendable, Equatable {
  /// The newest good checkpoint in the output folder, else from the beginning.
  case auto
  case never
  case path(String)

  public init(_ text: String) {
    switch text {
    case "auto": self = .auto
    case "never": self = .never
    default: self = .path(text)
    }
  }
}

/// Where a run goes on.
public struct ResumePoint: Sendable {
  /// Updates done so far.
  public var step = 0
  /// Whether the output folder has a checkpoint of that step.
  public var isSaved = false
  /// Steps of newer checkpoints that are damaged.
  public var damaged: Set<Int> = []
  var recent: (losses: [Double], norms: [Double]) = ([], [])
  /// Sentences for the log, on the first rank.
  public var notes: [String] = []

  public init() {}
}

/// Brings a run to the point where training goes on.
public struct Resume {
  private let run: TrainingRun
  private let agreement: Agreement
  private let fixedKeys: [[String]]

  /// - Parameter fixedKeys: Of the configuration, which must not change beside those that never may.
  public init(_ run: TrainingRun, fixedKeys: [[String]] = []) {
    (self.run, self.fixedKeys) = (run, fixedKeys)
    agreement = Agreement(run.group)
  }

  /// Every rank reads its own slices of the newest good checkpoint.
  ///
  /// Collective. Blocking. All ranks take the same checkpoint: a damage that one of them finds
  /// counts for all.
  public func restore(_ policy: ResumePolicy) throws -> ResumePoint {
    let folder = CheckpointFolder(run.output)
    // Other ranks may not see yet what the first one sees.
    let steps = try FirstRank(run.group).list(agreement) { folder.steps }
    switch policy {
    case .never:
      if steps.isEmpty { return try begin() }
      throw agreement.common(
        ConfigurationError(
          "run.output",
          "\(run.output) holds checkpoints that --resume never would overwrite; remove the folder, "
            + "or name another with --output"))
    case .path(let path):
      return try restore(path: path, beside: steps)
    case .auto:
      return steps.isEmpty ? try begin() : try restore(newestOf: steps, in: folder)
    }
  }

  private func restore(path: String, beside steps: [Int]) throws -> ResumePoint {
    switch try load(path) {
    case .damaged(let text): throw agreement.common(text, .badInput)
    case .loaded(var point):
      if let newer = steps.first, newer > point.step {
        throw agreement.common(
          ConfigurationError(
            "--resume",
            "\(run.output) has a checkpoint of step \(newer), after that of \(path), and would hold "
              + "two runs in one; remove what is newer with cae-dist checkpoint prune "
              + "\(run.output) --after \(point.step), or name another --output"))
      }
      point.isSaved = steps.contains(point.step)
      return point
    }
  }

  private func restore(newestOf steps: [Int], in folder: CheckpointFolder) throws -> ResumePoint {
    var passed = ResumePoint()
    for step in steps {
      switch try load(folder.path(step: step)) {
      case .loaded(var point):
        point.isSaved = true
        point.damaged = passed.damaged
        point.notes = passed.notes + point.notes
        return point
      case .damaged(let text):
        passed.damaged.insert(step)
        passed.notes.append("warning: \(text)")
      }
    }
    throw agreement.common(
      passed.notes.joined(separator: "\n")
        + "\nno checkpoint in \(run.output) can be used; name another --output to begin anew",
      .badInput)
  }

  private enum Attempt {
    case loaded(ResumePoint)
    /// Some file is not what was written: an older checkpoint may do.
    case damaged(String)
  }

  private func load(_ path: String) throws -> Attempt {
    let local = Result { () throws -> (CheckpointHeader, LoadReport) in
      let reader = try CheckpointReader(path: path)
      try run.configuration.requireResumable(
        from: reader.header.configuration, path: path, also: fixedKeys)
      let report = try reader.load(
        into: run.optimizer, run.method.buffers, rank: run.group.rank)
      return (reader.header, report)
    }
    var damage: CheckpointError?
    if case .failure(let error as CheckpointError) = local, error.isDamage { damage = error }
    // Anything but damage is an end.
    let loaded = try agreement.settle(
      damage == nil ? local.map(Optional.some) : .success(nil))
    if let text = try agreement.sentence(damage?.description) { return .damaged(text) }
    try run.optimizer.didLoad()
    guard let (header, report) = loaded else { preconditionFailure("neither loaded nor damaged") }
    var point = ResumePoint()
    point.step = header.step
    point.recent = (header.recentLosses, header.recentNorms)
    point.notes = try sentences(path, header.step, report)
    return .loaded(point)
  }

  private func sentences(
    _ path: String, _ step: Int, _ report: LoadReport
  ) throws -> [String] {
    let (read, needed) = (Double(report.bytesRead), Double(report.bytesNeeded))
    // Largest and smallest over ranks.
    let limits = try run.group.allReduceMaximum([read, -read, needed, -needed])
    func span(_ most: Double, _ least: Double) -> String {
      let texts = [least, most].map { "\(($0 / 1e4).rounded() / 100)" }
      return texts[0] == texts[1] ? texts[0] : texts.joined(separator: " to ")
    }
    var lines = [
      "resuming \(path): \(step) steps done; each rank has read \(span(limits[0], -limits[1])) MB "
        + "for the \(span(limits[2], -limits[3])) MB that it needs"
    ]
    if report.forgetsRoundingErrors {
      lines.append(
        "rounding errors of the wire begin anew at 0: the checkpoint's are of other ranks")
    }
    return lines
  }

  private func begin() throws -> ResumePoint {
    var point = ResumePoint()
    let source = run.configuration.training.run.initializeFrom
    guard !source.isEmpty else {
      point.notes = ["starting anew: no checkpoint in \(run.output)"]
      return point
    }
    if let classifier = type(of: run.method) as? any ClassifierMethod.Type,
      let pretrained = try loadEncoder(source, classifier)
    {
      try run.optimizer.didLoad()
      point.notes = ["starting from the encoder of \(pretrained); the head is as drawn"]
      return point
    }
    let part: String? = try agreement.run {
      guard Files.exists(source) else {
        throw ConfigurationError(
          "run.initializeFrom", "\(source) does not exist; name a checkpoint or a merged file")
      }
      if Files.isDirectory(source) {
        try CheckpointReader(path: source).loadParameters(into: run.optimizer)
        return nil
      }
      let file = try ParameterFile(path: source)
      try file.loadParameters(into: run.optimizer)
      return file.part
    }
    try run.optimizer.didLoad()
    point.notes = [
      part.map {
        "starting anew from the \($0) alone, the weights of \(source); all else is as drawn"
      } ?? "starting anew from the weights of \(source)"
    ]
    return point
  }

  /// The encoder of a model of another method becomes that of a classifier. Collective.
  ///
  /// - Returns: The checkpoint; nil where it is a classifier's, to be loaded as it is.
  private func loadEncoder(
    _ source: String, _ classifier: any ClassifierMethod.Type
  ) throws -> String? {
    let found = try AgreedCheckpoint(source, agreement)
    guard found.configuration.methodType != classifier else { return nil }
    try agreement.run {
      guard run.optimizer.writesParameters else { return }
      let checkpoint = try found.checkpoint ?? EncoderCheckpoint(path: found.path)
      try checkpoint.load(run.method.parameters, into: run.optimizer.parameters) {
        classifier.pretrainedName(of: $0)
      }
    }
    return found.path
  }
}
