public import DataParallel
import Files
import Foundation
import Interfaces

/// `cae-dist tokenizer fit`.
public enum TokenizerFitting {
  /// Collective: every rank calls it with the same arguments. Rank 0 writes the file.
  public static func run(
    _ cluster: Cluster, _ options: TokenizerFit.Options, file: String?,
    configuration: () throws -> ResolvedConfiguration
  ) throws -> ExitCode {
    let agreement = Agreement(cluster.group)
    let cores = try RankLayout.cores(of: cluster.group)
    let (fit, path) = try agreement.run { () throws -> (TokenizerFit, String) in
      let resolved = try configuration()
      guard let path = file ?? resolved.methodValue("tokenizer"), !path.isEmpty else {
        throw ConfigurationError("--file", "name the tokenizer's file here or in method.tokenizer")
      }
      if cluster.group.rank == 0 { try makeFolder(of: path) }
      return (
        try TokenizerFit(
          resolved.training, options, group: cluster.group, cores: cores), path
      )
    }
    let isFirst = cluster.group.rank == 0
    if isFirst {
      say(
        "\(options.vocabularySize) codes for \(path): choosing the start, then "
          + "\(options.iterations) mini-batches")
    }
    let outcome = try fit.run { done, total in
      if isFirst, done % 50 == 0 || done == total { say("iteration \(done)/\(total)") }
    }
    try agreement.run {
      guard isFirst else { return }
      try TokenizerFile.write(
        outcome.tokenizer, shares: outcome.shares, teacher: options.teacher, to: path)
      say("wrote \(path)\n" + (try TokenizerSummary(path: path).text))
    }
    return .success
  }

  /// Before the work, so that a path that cannot be written fails at once.
  private static func makeFolder(of path: String) throws(FileError) {
    guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return }
    try Files.makeDirectory(String(path[..<slash]))
  }

  private static func say(_ text: String) {
    FileHandle.standardOutput.write(Data((text + "\n").utf8))
  }
}
