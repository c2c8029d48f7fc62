/// One line of `metrics.jsonl`: figures of one step, in the order they are written.
public struct StepRecord: Sendable, Equatable {
  /// Updates done, this one included.
  public let step: Int
  public private(set) var figures: [(key: String, value: Double)] = []

  public init(step: Int) { self.step = step }

  public mutating func set(_ key: String, _ value: Double) { figures.append((key, value)) }

  public subscript(_ key: String) -> Double? { figures.first { $0.key == key }?.value }

  /// A JSON object. Numbers are written so that they read back to the same bits.
  public var json: String {
    let pairs = figures.map { "\"\($0.key)\":\(StepRecord.text($0.value))" }
    return "{\"step\":\(step)" + pairs.map { "," + $0 }.joined() + "}"
  }

  private static func text(_ value: Double) -> String {
    guard value.isFinite else { return "null" }
    if value == 0, value.sign == .minus { return "-0.0" }
    return value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
  }

  public static func == (left: StepRecord, right: StepRecord) -> Bool { left.json == right.json }
}
