public import TensorCore

/// Repeatable values for tests: a function of the seed alone.
public struct TestValues {
  private var random: CounterRandom

  public init(_ seed: UInt64) { random = CounterRandom(seed: seed, stream: .synthetic) }

  public mutating func floats(_ count: Int, in range: ClosedRange<Float> = -1...1) -> [Float] {
    (0..<count).map { _ in
      Float(random.uniform(Double(range.lowerBound), Double(range.upperBound)))
    }
  }

  public mutating func tensor(_ shape: Shape, in range: ClosedRange<Float> = -1...1) -> Tensor {
    Tensor(floats(shape.count, in: range), shape: shape)
  }

  /// Class or position indices below `bound`.
  public mutating func indices(_ count: Int, below bound: Int) -> [Int32] {
    (0..<count).map { _ in Int32(random.integer(below: bound)) }
  }
}

/// `max |a - b|`; infinite where the counts differ or a difference is not a number.
public func largestDifference(_ a: [Float], _ b: [Float]) -> Float {
  guard a.count == b.count else { return .infinity }
  var largest: Float = 0
  for (left, right) in zip(a, b) {
    let difference = abs(left - right)
    guard !difference.isNaN else { return .infinity }
    largest = max(largest, difference)
  }
  return largest
}

/// `||v||` in Double.
public func euclideanNorm(_ values: [Float]) -> Double {
  values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
}

/// The same bits in all places; unlike `==`, it tells zeros apart and finds a NaN equal to itself.
public func sameBits(_ a: [Float], _ b: [Float]) -> Bool {
  a.map(\.bitPattern) == b.map(\.bitPattern)
}
