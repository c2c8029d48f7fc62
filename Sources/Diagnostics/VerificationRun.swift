import Foundation
import TensorCore
public import Training

/// `cae-dist verify`: several files, one line each.
public struct VerificationRun: Encodable {
  public struct File: Encodable {
    public let path: String
    /// Empty where the file could be run.
    public let error: String
    public let passed: Bool
    public let errors: [String: Double]
    public let worst: [String: String]
  }

  public let files: [File]
  /// One line a file.
  public var lines: [String] { files.map(VerificationRun.line) }
  public let exitCode: ExitCode

  private enum CodingKeys: String, CodingKey { case files }

  public init(files paths: [String]) {
    let pool = ThreadPool(
      threadCount: ThreadCount.resolve("auto", cores: RankLayout.coresOfProcess))
    var files: [File] = []
    var codes: [ExitCode] = []
    for path in paths {
      do throws(VerificationError) {
        let report = try Verification.run(path: path, pool: pool)
        files.append(File(report))
        codes.append(report.passed ? .success : .failed)
      } catch {
        files.append(File(path: path, error: "\(error)", passed: false, errors: [:], worst: [:]))
        if case .notBuilt = error { codes.append(.unavailable) } else { codes.append(.badInput) }
      }
    }
    self.files = files
    // A limit passed outweighs a file that could not be read, and that one what is not built.
    let order: [ExitCode] = [.failed, .badInput, .unavailable]
    exitCode = order.first { codes.contains($0) } ?? .success
  }

  private static func line(_ file: File) -> String {
    guard file.error.isEmpty else { return "error  \(file.error)" }
    let parts = ["loss", "output", "gradient", "trajectory"].map { key in
      String(format: "%@ %.1e (%@)", key, file.errors[key] ?? .nan, file.worst[key] ?? "-")
    }
    return "\(file.passed ? "ok   " : "FAIL ")  \(file.path)  " + parts.joined(separator: "  ")
  }
}

extension VerificationRun.File {
  init(_ report: VerificationReport) {
    let kinds = [
      "loss": report.loss, "output": report.output, "gradient": report.gradient,
      "trajectory": report.trajectory,
    ]
    self.init(
      path: report.path, error: "", passed: report.passed, errors: kinds.mapValues(\.value),
      worst: kinds.mapValues(\.name))
  }
}
