import Interfaces
import TensorCore

/// Right answers, each image counted once, and which class was taken for which.
public struct Accuracy: Sendable, Equatable {
  public private(set) var top1 = 0
  public private(set) var top5 = 0
  public private(set) var count = 0
  /// `[true class][answer]`.
  public private(set) var confusion: [[Int]]

  init(classes: Int) {
    confusion = Array(repeating: Array(repeating: 0, count: classes), count: classes)
  }

  /// - Parameter scores: Of all classes; of equal ones the first counts as larger.
  mutating func add(scores: UnsafeBufferPointer<Float>, label: Int) {
    var (rank, best) = (0, 0)
    for (index, score) in scores.enumerated() {
      if score > scores[label] || score == scores[label] && index < label { rank += 1 }
      if score > scores[best] { best = index }
    }
    top1 += rank == 0 ? 1 : 0
    top5 += rank < 5 ? 1 : 0
    count += 1
    confusion[label][best] += 1
  }

  /// Rows of logits `[.., classes]`, as many as there are labels.
  mutating func add(logits: Tensor, labels: some Collection<Int32>) {
    for (row, label) in labels.enumerated() {
      add(
        scores: UnsafeBufferPointer(
          start: logits.pointer + row * logits.columns, count: logits.columns), label: Int(label))
    }
  }

  /// Collective. The counts of all ranks.
  func summed(_ group: any ProcessGroup) throws(CollectiveError) -> Accuracy {
    var values = ([top1, top5, count] + confusion.flatMap(\.self)).map(Double.init)
    let outcome = values.withUnsafeMutableBufferPointer { buffer in
      Result { () throws(CollectiveError) in try group.allReduceSum(buffer) }
    }
    try outcome.get()
    var sum = self
    (sum.top1, sum.top5, sum.count) = (Int(values[0]), Int(values[1]), Int(values[2]))
    let classes = confusion.count
    for row in 0..<classes {
      for column in 0..<classes {
        sum.confusion[row][column] = Int(values[3 + row * classes + column])
      }
    }
    return sum
  }

  public var top1Share: Double { Double(top1) / Double(max(count, 1)) }
  public var top5Share: Double { Double(top5) / Double(max(count, 1)) }
}
