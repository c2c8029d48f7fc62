import Files
import Foundation
import TestSupport
import Testing

/// How a process ended.
struct Ended: CustomStringConvertible {
  let code: Int32
  /// Ended by a signal, whose number `code` is.
  let wasKilled: Bool
  let standardOutput: String
  let standardError: String
  let seconds: Double

  var errorLines: [Substring] { standardError.split(separator: "\n") }
  var description: String {
    "code \(code)\(wasKilled ? " (signal)" : "") after \(seconds) s: \(standardError)"
      + standardOutput.suffix(600)
  }
}

/// The program as its users know it: a process with arguments, streams and an exit code.
struct Program {
  /// Beside the test bundle, where `swift build --build-tests` (and so `swift test`) puts it.
  static let path: String = {
    let bundle = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    let beside = bundle.deletingLastPathComponent().appendingPathComponent("cae-dist").path
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    return Files.exists(beside) ? beside : root.path + "/.build/release/cae-dist"
  }()

  static let isBuilt = Files.exists(path)
  static let hasLauncher = ["/usr/bin", "/usr/local/bin", "/opt/openmpi/bin"].contains {
    Files.exists("\($0)/mpirun")
  }
  static let whyNot: Comment = "cae-dist is not beside the tests: swift build -c release makes it"
  static let whyNotLaunched: Comment = "there is no mpirun, or no cae-dist beside the tests"
  static var isLaunchable: Bool { isBuilt && hasLauncher }

  private let process = Process()
  private let streams: TemporaryFolder
  private let started = Date()

  /// Starts it, alone or on ranks of this machine.
  ///
  /// - Parameters:
  ///   - ranks: nil: without mpirun.
  ///   - folder: Where it is started; nil: where the tests are.
  init(
    _ arguments: [String], ranks: Int? = nil, dataHome: String? = nil, folder: String? = nil
  ) throws {
    streams = try TemporaryFolder("streams")
    // Tests of MPI in this process have put variables there by which another mpirun would take
    // itself for a part of their job.
    var environment = ProcessInfo.processInfo.environment.filter { variable in
      !["OMPI_", "PMIX_", "ORTE_"].contains { variable.key.hasPrefix($0) }
    }
    environment["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
    environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    environment["OPENBLAS_NUM_THREADS"] = "1"
    environment["XDG_DATA_HOME"] = dataHome ?? streams.path
    process.environment = environment
    if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
    if let ranks {
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments =
        [
          "timeout", "--kill-after=5", "60", "mpirun", "--quiet", "--oversubscribe", "--bind-to",
          "none", "--mca", "mpi_yield_when_idle", "1", "-n", "\(ranks)", Program.path,
        ] + arguments
    } else {
      process.executableURL = URL(fileURLWithPath: Program.path)
      process.arguments = arguments
    }
    // Files: nobody has to read pipes while the process runs.
    for name in ["out", "err"] { try streams.write("", to: name) }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle(forWritingAtPath: streams.file("out"))
    process.standardError = FileHandle(forWritingAtPath: streams.file("err"))
    // Threads of tests block signals, and processes inherit that; a shell's do not.
    var (signals, before) = (sigset_t(), sigset_t())
    sigemptyset(&signals)
    sigaddset(&signals, SIGUSR1)
    pthread_sigmask(SIG_UNBLOCK, &signals, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    try process.run()
  }

  var isRunning: Bool { process.isRunning }

  func kill() { Foundation.kill(process.processIdentifier, SIGKILL) }

  /// Waits for the end; kills it after `limit` seconds.
  func end(within limit: Double) throws -> Ended {
    while process.isRunning, Date().timeIntervalSince(started) < limit { usleep(2000) }
    if process.isRunning { kill() }
    process.waitUntilExit()
    return Ended(
      code: process.terminationStatus, wasKilled: process.terminationReason == .uncaughtSignal,
      standardOutput: try Files.readText(streams.file("out")),
      standardError: try Files.readText(streams.file("err")),
      seconds: Date().timeIntervalSince(started))
  }

  /// Runs it to its end.
  static func run(
    _ arguments: [String], ranks: Int? = nil, within limit: Double = 60, dataHome: String? = nil,
    folder: String? = nil
  ) throws -> Ended {
    try Program(arguments, ranks: ranks, dataHome: dataHome, folder: folder).end(within: limit)
  }

  /// Whether a process of this machine has a word in its arguments.
  static func isAnyRunning(with word: String) -> Bool { !running(with: word).isEmpty }

  /// Processes of this machine that have a word in their arguments.
  static func running(with word: String) -> [Int32] {
    ((try? Files.list("/proc")) ?? []).compactMap { Int32($0) }.filter { process in
      guard let text = try? Files.readText("/proc/\(process)/cmdline") else { return false }
      return text.contains(word) && process != getpid()
    }
  }
}

/// What `checkpoint inspect --json` says, as far as tests ask.
struct InspectedCheckpoint: Decodable {
  let step: Int
  let samplesSeen: Int
  let parametersHash: String

  init(_ path: String) throws {
    let ended = try Program.run(["checkpoint", "inspect", path, "--json"])
    try #require(ended.code == 0, "\(ended)")
    self = try JSONDecoder().decode(Self.self, from: Data(ended.standardOutput.utf8))
  }
}

/// The lines of a run's `metrics.jsonl`, without what depends on the clock.
func metrics(of output: String) throws -> [String] {
  try Files.readText("\(output)/metrics.jsonl").split(separator: "\n").map { line in
    line.split(separator: ",").filter { field in
      ![
        "imagesPerSecond", "stepMilliseconds", "dataWaitMilliseconds",
        "exposedCommunicationMilliseconds", "checkpointStallMilliseconds",
        "slowestOwnMilliseconds", "fastestOwnMilliseconds",
      ].contains {
        field.contains("\"\($0)\"")
      }
    }.joined(separator: ",")
  }
}
