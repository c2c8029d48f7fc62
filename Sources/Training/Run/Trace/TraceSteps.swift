import Interfaces

/// The steps of which a run writes a trace: `steps=10-12`.
enum TraceSteps {
  /// - Returns: Nil where there is no trace.
  static func parse(_ text: String) throws(ConfigurationError) -> ClosedRange<Int>? {
    guard !text.isEmpty else { return nil }
    let pair = text.split(separator: "=", omittingEmptySubsequences: false)
    let ends = pair.last?.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard pair.count == 2, pair[0] == "steps", let ends, (1...2).contains(ends.count),
      let first = ends[0], let last = ends[ends.count - 1], first > 0, first <= last
    else {
      throw ConfigurationError(
        "run.trace", "must be such as steps=10-12, with steps from 1, not \(text)")
    }
    return first...last
  }
}
