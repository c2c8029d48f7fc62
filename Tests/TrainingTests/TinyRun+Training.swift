import DataParallel
import Files
import Foundation
import Interfaces
import Models
import NN
import TestSupport

@testable import Training

/// One line of `metrics.jsonl`, each number as it was written.
struct MetricsLine: Equatable, Sendable, CustomStringConvertible {
  /// What depends on the clock.
  static let timings: Set<String> = [
    "imagesPerSecond", "stepMilliseconds", "dataWaitMilliseconds",
    "exposedCommunicationMilliseconds", "checkpointStallMilliseconds",
    "slowestOwnMilliseconds", "fastestOwnMilliseconds",
  ]

  let fields: [(key: String, text: String)]

  init(_ line: Substring) {
    fields = line.dropFirst().dropLast().split(separator: ",").map { pair in
      let parts = pair.split(separator: ":", maxSplits: 1)
      return (String(parts[0].dropFirst().dropLast()), String(parts[1]))
    }
  }

  var step: Int { self["step"].map { Int($0) } ?? -1 }
  var keys: [String] { fields.map(\.key) }
  var lastingKeys: [String] { keys.filter { !Self.timings.contains($0) } }
  subscript(_ key: String) -> Double? { fields.first { $0.key == key }.flatMap { Double($0.text) } }

  /// All but the timings.
  var description: String {
    fields.filter { !Self.timings.contains($0.key) }.map { "\($0.key)=\($0.text)" }
      .joined(separator: " ")
  }

  static func == (left: Self, right: Self) -> Bool { left.description == right.description }

  static func read(_ path: String) throws -> [MetricsLine] {
    try Files.readText(path).split(separator: "\n").map(MetricsLine.init)
  }
}

/// How a rank's part of a run ended.
struct RankEnd: Sendable {
  /// Of the bytes of all parameters in memory.
  var parameters: UInt64 = 0
  var notes: [String] = []
  var outcome: TrainingOutcome?
  var failure: (any Error)?

  var agreed: AgreedFailure? { failure as? AgreedFailure }
}

/// What a run left behind.
struct RunOutcome: Sendable {
  let output: String
  let ranks: [RankEnd]

  var notes: [String] { ranks[0].notes }
  /// Newest first.
  var checkpoints: [String] {
    let folder = CheckpointFolder(output)
    return folder.steps.map(folder.path(step:))
  }

  func metrics() throws -> [MetricsLine] { try MetricsLine.read("\(output)/metrics.jsonl") }

  /// Parameter hash of the newest checkpoint.
  func hash() throws -> String {
    try CheckpointSummary(path: checkpoints.first ?? output).parametersHash
  }
}

extension TinyRun {
  /// What a test varies of a run.
  struct Options: Sendable {
    /// Folder below the tiny run's own.
    var output = "output"
    /// nil: alone, without a group of threads.
    var ranks: Int?
    var resume = ResumePolicy.auto
    var stopAfter = Int.max
    /// As with `--set`.
    var set: [String] = []
    /// The configuration, if it is not the tiny run's.
    var yaml: String?
    var methods = MethodRegistry.all
    /// Of a rank.
    var request: @Sendable (Int) -> StopRequest = { _ in StopRequest() }
  }

  func resolve(_ options: Options = Options()) throws -> ResolvedConfiguration {
    try ConfigurationFile.resolve(
      options.yaml ?? yaml, name: "tiny",
      overrides: ["run.output=\"\(folder.file(options.output))\""] + options.set,
      methods: options.methods)
  }

  /// Runs to the end on every rank, however that looks.
  func end(_ change: (inout Options) -> Void = { _ in }) throws -> RunOutcome {
    var changed = Options()
    change(&changed)
    let options = changed
    let ends: [RankEnd]
    if let ranks = options.ranks {
      ends = ThreadProcessGroup.run(count: ranks) { rank(options, $0) }
    } else {
      ends = [rank(options, SingleProcessGroup())]
    }
    return RunOutcome(output: folder.file(options.output), ranks: ends)
  }

  /// Runs to the end, which must be a good one.
  @discardableResult
  func finish(_ change: (inout Options) -> Void = { _ in }) throws -> RunOutcome {
    let outcome = try end(change)
    if let failure = outcome.ranks.compactMap(\.failure).first { throw failure }
    return outcome
  }

  /// The failure that all ranks agreed on, told by the rank that prints it.
  func failure(_ change: (inout Options) -> Void = { _ in }) throws -> AgreedFailure? {
    try end(change).ranks.compactMap(\.agreed).first { $0.isMine }
  }

  /// One rank, composed as in `Pretraining`.
  private func rank(_ options: Options, _ group: any ProcessGroup) -> RankEnd {
    var end = RankEnd()
    do {
      let agreement = Agreement(group)
      let resolved = try agreement.run { try resolve(options) }
      let run = try TrainingRun(resolved, group: group)
      let folder = try agreement.run { try RunFolder(path: run.output, rank: group.rank) }
      let point = try Resume(run).restore(options.resume)
      end.notes = point.notes
      try agreement.run { try folder.open(run, step: point.step) }
      if point.step < run.totalSteps {
        end.outcome = try Trainer(
          run, folder: folder, from: point, request: options.request(group.rank),
          showsProgress: false
        ).train(stopAfter: options.stopAfter)
      }
      end.parameters = TinyRun.hash(run.optimizer.parameters)
    } catch {
      end.failure = error
    }
    return end
  }

  static func hash(_ buffer: FlatBuffer) -> UInt64 {
    var hash = Hash64()
    hash.update(
      UnsafeRawBufferPointer(UnsafeBufferPointer(start: buffer.pointer, count: buffer.count)))
    return hash.finalize()
  }
}
