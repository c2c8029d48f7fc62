import DataParallel
import Files
import Glibc
public import Interfaces

/// A fault that a run does to itself, to show what comes of it: `rank=3,step=17,kind=nan`, or
/// `rank=0,step=20,kind=kill,at=manifest` in the checkpoint after that step.
public struct Injection: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    /// The process is killed before the step.
    case kill
    /// The rank does nothing for ever, before the step.
    case hang
    /// The step's gradients are not numbers.
    case nan
    /// A bit of the weights flips after the step.
    case bitflip
    /// The rank takes some seconds longer for the step.
    case slow
    /// The rank takes a fifth longer for the own part of this step and of all after it.
    case straggle
    /// Of the checkpoint after the step, the first write of data fails: the disk is full.
    case enospc
    /// The same: the device fails.
    case eio
    /// The same: the system takes only half of it.
    case shortWrite = "short-write"
  }

  public let rank: Int
  /// From 1, as in the log.
  public let step: Int
  public let kind: Kind
  /// For `kill`: where in the checkpoint after the step; nil: before the step.
  let phase: CheckpointPhase?
  private static let slowSeconds: UInt32 = 2

  public init(_ text: String) throws(ConfigurationError) {
    var fields: [String: String] = [:]
    for part in text.split(separator: ",") {
      let pair = part.split(separator: "=", maxSplits: 1).map(String.init)
      fields[pair[0]] = pair.count == 2 ? pair[1] : ""
    }
    let phase = fields.removeValue(forKey: "at")
    self.phase = phase.flatMap(CheckpointPhase.init(rawValue:))
    guard Set(fields.keys) == ["rank", "step", "kind"], let rank = Int(fields["rank"] ?? ""),
      let step = Int(fields["step"] ?? ""), let kind = Kind(rawValue: fields["kind"] ?? ""),
      rank >= 0, step > 0, phase == nil || (self.phase != nil && kind == .kill)
    else {
      throw ConfigurationError(
        "--inject",
        "\(text) is not rank=R,step=S,kind=K with K one of "
          + Kind.allCases.map(\.rawValue).joined(separator: ", ")
          + ", where kill takes at=P with P one of "
          + CheckpointPhase.allCases.map(\.rawValue).joined(separator: ", "))
    }
    (self.rank, self.step, self.kind) = (rank, step, kind)
  }

  /// Whether this fault is due.
  func isDue(_ kind: Kind, rank: Int, step: Int) -> Bool {
    self.kind == kind && self.rank == rank && self.step == step
  }

  /// Ends this process as the kernel would, or keeps it from ever going on, where that is due.
  func strike(rank: Int, step: Int) {
    if phase == nil, isDue(.kill, rank: rank, step: step) { kill(getpid(), SIGKILL) }
    if isDue(.slow, rank: rank, step: step) { sleep(Injection.slowSeconds) }
    while isDue(.hang, rank: rank, step: step) { sleep(1000) }
  }

  /// Takes longer for what has taken `seconds`, where that is due.
  func straggle(rank: Int, step: Int, seconds: Double) {
    guard kind == .straggle, self.rank == rank, step >= self.step else { return }
    usleep(UInt32(seconds * 0.2e6))
  }

  /// Flips a bit in the middle of the weights, where that is due.
  func corrupt(_ weights: UnsafeMutableBufferPointer<Float>, rank: Int, step: Int) {
    guard isDue(.bitflip, rank: rank, step: step), !weights.isEmpty else { return }
    let place = weights.count / 2
    weights[place] = Float(bitPattern: weights[place].bitPattern ^ (1 << 20))
  }

  /// What to do at each phase of the checkpoint after a step.
  func phases(rank: Int, step: Int) -> @Sendable (CheckpointPhase) -> Void {
    guard let phase, isDue(.kill, rank: rank, step: step) else { return { _ in } }
    return { if $0 == phase { kill(getpid(), SIGKILL) } }
  }

  /// What happens to the checkpoint after a step.
  func writeFault(rank: Int, step: Int) -> WriteFault? {
    guard self.rank == rank, self.step == step else { return nil }
    switch kind {
    case .enospc: return .noSpace
    case .eio: return .inputOutput
    case .shortWrite: return .short
    case .kill, .hang, .nan, .bitflip, .slow, .straggle: return nil
    }
  }
}
