import DataParallel
import Foundation

/// Where two checkpoints differ: `cae-dist checkpoint diff`.
public struct CheckpointComparison: Encodable, Sendable {
  /// A tensor that differs; infinite numbers are nil, which JSON has no word for.
  public struct Tensor: Encodable, Sendable {
    public let name: String
    public let largestDifference: Double?
    public let relativeDifference: Double?
    public let index: [Int]
    public let differingValues: Int
    public let values: Int
    /// Both; none where they are the same.
    public let shapes: [[Int]]?

    enum CodingKeys: CodingKey {
      case name, largestDifference, relativeDifference, index, differingValues, values, shapes
    }

    init(_ tensor: StateDifference.Tensor) {
      name = tensor.name
      largestDifference = tensor.largest.isFinite ? tensor.largest : nil
      relativeDifference = tensor.relative.isFinite ? tensor.relative : nil
      index = tensor.index
      (differingValues, values) = (tensor.differingValues, tensor.values)
      shapes = tensor.shapes.isEmpty ? nil : tensor.shapes
    }

    public func encode(to encoder: any Encoder) throws {
      var fields = encoder.container(keyedBy: CodingKeys.self)
      try fields.encode(name, forKey: .name)
      try fields.encode(largestDifference, forKey: .largestDifference)
      try fields.encode(relativeDifference, forKey: .relativeDifference)
      try fields.encode(index, forKey: .index)
      try fields.encode(differingValues, forKey: .differingValues)
      try fields.encode(values, forKey: .values)
      try fields.encodeIfPresent(shapes, forKey: .shapes)
    }

    var line: String {
      if let shapes { return "\(name): \(shapes[0]) against \(shapes[1])" }
      let largest = largestDifference.map { String(format: "%.3e", $0) } ?? "infinite"
      let relative = relativeDifference.map { String(format: ", relative %.3e", $0) } ?? ""
      return
        "\(name): \(largest) at \(index)\(relative), \(differingValues) of \(values) values differ"
    }
  }

  public let isEqual: Bool
  /// Tensors and values that both have.
  public let tensorCount: Int
  public let valueCount: Int
  /// Largest difference first.
  public let differences: [Tensor]
  public let onlyInFirst: [String]
  public let onlyInSecond: [String]
  private let paths: [String]

  enum CodingKeys: CodingKey {
    case isEqual, tensorCount, valueCount, differences, onlyInFirst, onlyInSecond
  }

  /// Checkpoint folders or merged files.
  public init(_ first: String, _ second: String) throws {
    let states = try [first, second].map {
      try SavedState(path: try CheckpointListing.checkpoint(at: $0))
    }
    let found = try StateDifference(states[0], states[1])
    isEqual = found.isEmpty
    (tensorCount, valueCount) = (found.tensorCount, found.valueCount)
    differences = found.tensors.map(Tensor.init)
    (onlyInFirst, onlyInSecond) = (found.onlyInFirst, found.onlyInSecond)
    paths = states.map(\.path)
  }

  public var lines: [String] {
    guard !isEqual else { return ["no difference: \(tensorCount) tensors, \(valueCount) values"] }
    return differences.map(\.line) + onlyInFirst.map { "\($0): only in \(paths[0])" }
      + onlyInSecond.map { "\($0): only in \(paths[1])" }
      + ["\(differences.count) of \(tensorCount) tensors differ"]
  }
}
