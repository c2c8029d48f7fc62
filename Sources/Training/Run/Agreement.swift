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

  /// As above, with text and code.
  public func common(_ text: String, _ code: ExitCode) -> AgreedFailure {
    AgreedFailure(rank: 0, isMine: group.rank == 0, text: text, code: code)
  }

  /// The sentence of the lowest rank that has one, on every rank; nil where none has.
  ///
  /// Collective: every rank calls it. Blocking.
  public func sentence(_ own: String?) throws -> String? {
    let mine = own == nil ? 0 : Double(group.worldSize - group.rank)
    let lowest = try group.allReduceMaximum([mine])[0]
    guard lowest > 0 else { return nil }
    let root = group.worldSize - Int(lowest)
    var bytes = root == group.rank ? Array((own ?? "").utf8) : []
    let count = Int(try group.allReduceMaximum([Double(bytes.count)])[0])
    bytes += [UInt8](repeating: 0, count: count - bytes.count)
    let outcome = bytes.withUnsafeMutableBytes { bytes in
      Result { () throws(CollectiveError) in try group.broadcast(bytes, root: root) }
    }
    try outcome.get()
    return String(decoding: bytes, as: UTF8.self)
  }
}
