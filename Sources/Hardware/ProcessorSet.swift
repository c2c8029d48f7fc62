/// Processors (hardware threads) of a host by the numbers that the system gives them.
public struct ProcessorSet: Sendable, Hashable, Codable, CustomStringConvertible {
  /// Ascending.
  public let numbers: [Int]

  public init(_ numbers: some Sequence<Int>) { self.numbers = Set(numbers).sorted() }

  /// Whether there is none.
  public var isEmpty: Bool { numbers.isEmpty }
  /// How many there are.
  public var count: Int { numbers.count }

  /// Whether some are in both.
  public func intersects(_ other: ProcessorSet) -> Bool {
    let own = Set(numbers)
    return other.numbers.contains(where: own.contains)
  }

  /// As the kernel writes it: `0-7,16`.
  public var description: String {
    var runs: [ClosedRange<Int>] = []
    for number in numbers {
      if let last = runs.last, last.upperBound == number - 1 {
        runs[runs.count - 1] = last.lowerBound...number
      } else {
        runs.append(number...number)
      }
    }
    return runs.map { run in
      run.count == 1 ? "\(run.lowerBound)" : "\(run.lowerBound)-\(run.upperBound)"
    }.joined(separator: ",")
  }
}
