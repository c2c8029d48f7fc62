/// Extents of a tensor: up to five dimensions, row-major, held without heap memory.
public struct Shape: Equatable, Hashable, Sendable, ExpressibleByArrayLiteral,
  CustomStringConvertible
{
  /// The largest number of dimensions.
  public static let maximumRank = 5

  private var extents: InlineArray<5, Int>
  public let rank: Int

  /// - Precondition: At most five dimensions, none negative.
  public init(_ dimensions: some Collection<Int>) {
    precondition(dimensions.count <= Shape.maximumRank, "a shape has at most 5 dimensions")
    extents = InlineArray(repeating: 1)
    rank = dimensions.count
    for (index, extent) in dimensions.enumerated() {
      precondition(extent >= 0, "dimension \(index) is negative: \(extent)")
      extents[index] = extent
    }
  }

  public init(arrayLiteral elements: Int...) {
    self.init(elements)
  }

  public subscript(_ dimension: Int) -> Int {
    precondition(dimension >= 0 && dimension < rank, "dimension \(dimension) of rank \(rank)")
    return extents[dimension]
  }

  /// Number of elements; 1 for a scalar.
  public var count: Int {
    var product = 1
    for index in 0..<rank { product *= extents[index] }
    return product
  }

  public var dimensions: [Int] { (0..<rank).map { extents[$0] } }

  public var description: String {
    "[" + dimensions.map(String.init).joined(separator: ", ") + "]"
  }

  public static func == (left: Shape, right: Shape) -> Bool {
    guard left.rank == right.rank else { return false }
    for index in 0..<left.rank where left.extents[index] != right.extents[index] { return false }
    return true
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(rank)
    for index in 0..<rank { hasher.combine(extents[index]) }
  }
}
