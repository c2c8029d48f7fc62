/// Where the tensors of two saved states differ.
///
/// Values are compared by their bits, but that any NaN equals any other. The difference of two
/// values is infinite where one of them is not finite, and 0 between +0 and -0.
public struct StateDifference: Sendable {
  /// What is different about one tensor.
  public struct Tensor: Sendable, Equatable {
    /// `parameters/encoder.norm.weight`
    public let name: String
    /// Largest absolute difference; infinite where one of the values is not finite, or the shapes
    /// differ.
    public let largest: Double
    /// Where that is; empty where the shapes differ.
    public let index: [Int]
    /// `largest` over the largest magnitude of all finite values of both tensors.
    public let relative: Double
    /// Values that differ, of how many.
    public let differingValues: Int
    public let values: Int
    /// The shapes, where they differ.
    public let shapes: [[Int]]
  }

  /// Largest difference first.
  public private(set) var tensors: [Tensor] = []
  /// Names of tensors that only one of the states has.
  public private(set) var onlyInFirst: [String] = []
  public private(set) var onlyInSecond: [String] = []
  /// Tensors and values that both have.
  public private(set) var tensorCount = 0
  public private(set) var valueCount = 0

  public var isEmpty: Bool { tensors.isEmpty && onlyInFirst.isEmpty && onlyInSecond.isEmpty }

  /// Holds one tensor of each at a time.
  public init(_ first: SavedState, _ second: SavedState) throws(CheckpointError) {
    for group in SavedState.groups {
      let (mine, others) = (try first.names(in: group), try second.names(in: group))
      let (known, common) = (Set(mine), Set(mine).intersection(others))
      onlyInFirst += mine.filter { !common.contains($0) }.map { "\(group)/\($0)" }
      onlyInSecond += others.filter { !known.contains($0) }.map { "\(group)/\($0)" }
      for name in mine where common.contains(name) {
        try compare("\(group)/\(name)", (first, second), group, name)
      }
    }
    tensors.sort { ($1.largest, $1.relative, $0.name) < ($0.largest, $0.relative, $1.name) }
  }

  private mutating func compare(
    _ path: String, _ states: (SavedState, SavedState), _ group: String, _ name: String
  ) throws(CheckpointError) {
    tensorCount += 1
    let shapes = [try states.0.shape(group, name), try states.1.shape(group, name)]
    let count = shapes[0].reduce(1, *)
    guard shapes[0] == shapes[1] else {
      tensors.append(
        Tensor(
          name: path, largest: .infinity, index: [], relative: .infinity, differingValues: count,
          values: count, shapes: shapes))
      return
    }
    valueCount += count
    let found = StateDifference.compare(
      try states.0.values(group, name), try states.1.values(group, name))
    guard found.count > 0 else { return }
    tensors.append(
      Tensor(
        name: path, largest: found.largest,
        index: StateDifference.index(of: found.place, in: shapes[0]),
        relative: found.largest > 0 ? found.largest / found.magnitude : 0,
        differingValues: found.count, values: count, shapes: []))
  }

  private static func compare(
    _ first: [Float], _ second: [Float]
  ) -> (largest: Double, place: Int, count: Int, magnitude: Double) {
    var result = (largest: -1.0, place: 0, count: 0, magnitude: 0.0)
    for place in first.indices {
      let (a, b) = (first[place], second[place])
      for value in [a, b] where value.isFinite {
        result.magnitude = max(result.magnitude, Double(abs(value)))
      }
      if a.bitPattern == b.bitPattern || a.isNaN && b.isNaN { continue }
      let difference = a.isFinite && b.isFinite ? abs(Double(a) - Double(b)) : .infinity
      result.count += 1
      if difference > result.largest { (result.largest, result.place) = (difference, place) }
    }
    return result
  }

  private static func index(of place: Int, in shape: [Int]) -> [Int] {
    var (rest, index) = (place, [Int]())
    for extent in shape.reversed() {
      index.append(rest % extent)
      rest /= extent
    }
    return index.reversed()
  }
}
