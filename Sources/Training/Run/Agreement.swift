public import Interfaces

/// A failure that all ranks know of: one of them says why.
public struct AgreedFailure: Error, Sendable {
  /// The rank that prints.
  public let rank: Int
  /// True on that rank.
  public let isMine: Bool
  public let text: String
  public let code: ExitCode
}

/// Lets ranks fail together: nobody goes on, or waits in a collective, when another cannot.
public struct Agreement: Sendable {
  public let group: any ProcessGroup

  public init(_ group: any ProcessGroup) { self.group = group }

  /// Runs `body`, which must not communicate, on every rank.
  ///
  /// Collective: every rank calls it. Blocking.
  ///
  /// - Throws: `AgreedFailure` on every rank where it failed on any: the lowest such rank's error.
  public func run<Value>(_ body: () throws -> Value) throws -> Value {
    try settle(Result(catching: body))
  }

  /// As `run`, for work that was done already.
  public func settle<Value>(_ result: Result<Value, any Error>) throws -> Value {
    try settle(result, StepFlags()).value
  }

  /// As above, and in the same collective brings the flags of all ranks together.
  func settle<Value>(
    _ result: Result<Value, any Error>, _ flags: StepFlags
  ) throws -> (value: Value, flags: StepFlags) {
    var failure: (any Error)?
    if case .failure(let error) = result { failure = error }
    // The lowest failing rank has the largest value; its code travels with it.
    let mine = failure == nil ? 0 : Double(group.worldSize - group.rank)
    let largest = try group.allReduceMaximum([mine] + flags.values)
    let lowest = largest[0]
    guard lowest > 0 else { return (try result.get(), StepFlags(values: largest.dropFirst())) }
    let rank = group.worldSize - Int(lowest)
    let isMine = rank == group.rank
    let local = failure.map(ExitCode.init(for:)) ?? .internalError
    let code = try group.allReduceMaximum([isMine ? Double(local.rawValue) : 0])[0]
    throw AgreedFailure(
      rank: rank, isMine: isMine, text: failure.map { "\($0)" } ?? "",
      code: ExitCode(rawValue: Int32(code)) ?? .internalError)
  }

  /// An error that every rank has found alike; rank 0 says it.
  public func common(_ error: any Error) -> AgreedFailure {
    AgreedFailure(
      rank: 0, isMine: group.rank == 0, text: "\(error)", code: ExitCode(for: error))
  }
}
