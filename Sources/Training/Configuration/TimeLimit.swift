public import Interfaces

/// A wall-clock limit as `sbatch --time` takes it: minutes, minutes:seconds, hours:minutes:seconds,
/// days-hours, days-hours:minutes or days-hours:minutes:seconds.
public enum TimeLimit {
  /// - Returns: Seconds; nil for an empty text: no limit.
  public static func seconds(
    of text: String, key: String
  ) throws(ConfigurationError) -> Double? {
    if text.isEmpty { return nil }
    let halves = text.split(separator: "-", omittingEmptySubsequences: false)
    let fields = halves.last?.split(separator: ":", omittingEmptySubsequences: false) ?? []
    let numbers = (halves.dropLast() + fields).compactMap(number)
    guard halves.count <= 2, fields.count <= 3, numbers.count == halves.count - 1 + fields.count
    else { throw wrong(text, key) }
    // What the first number counts; each further one is of the next smaller unit.
    let first = halves.count == 2 ? 0 : fields.count == 3 ? 1 : 2
    let seconds = zip(numbers, [86400.0, 3600, 60, 1][first...]).reduce(0) { $0 + $1.0 * $1.1 }
    guard seconds > 0 else { throw wrong(text, key) }
    return seconds
  }

  /// Digits and nothing else, of a size that no clock reaches.
  private static func number(_ digits: Substring) -> Double? {
    digits.utf8.allSatisfy { (48...57).contains($0) } && digits.utf8.count <= 9
      ? Double(digits) : nil
  }

  private static func wrong(_ text: String, _ key: String) -> ConfigurationError {
    ConfigurationError(
      key,
      "\(text) is not a time above 0 as sbatch --time takes it, such as 90 (minutes), 11:30:00 or "
        + "1-12:00:00 (days first); leave it empty for no limit")
  }
}
