import Interfaces
import Models
import NN

/// Losses and scalars summed over micro-batches: summed everywhere, counted globally, divided
/// once.
struct LossSums {
  private(set) var terms: [(name: String, value: Double, weight: Double)] = []
  private(set) var scalars: [(name: String, value: Double)] = []

  /// The weighted objective.
  var total: Double { terms.reduce(0) { $0 + $1.weight * $1.value } }

  /// - Parameter counts: False: only the names are taken.
  mutating func add(_ output: MethodOutput, counts: Bool = true) {
    if terms.isEmpty {
      terms = output.terms.map { ($0.name, 0, $0.weight) }
      scalars = output.scalars.map { ($0.name, 0) }
    }
    guard counts else { return }
    for (index, term) in output.terms.enumerated() { terms[index].value += term.loss.value }
    for (index, scalar) in output.scalars.enumerated() { scalars[index].value += scalar.value }
  }

  /// Collective. The mean of `count` micro-batches that the ranks have summed up.
  func mean(over group: any ProcessGroup, count: Int) throws(CollectiveError) -> LossSums {
    var values = terms.map(\.value) + scalars.map(\.value)
    try LossSums.sum(&values, over: group)
    var means = self
    for index in terms.indices { means.terms[index].value = values[index] / Double(count) }
    for index in scalars.indices {
      means.scalars[index].value = values[terms.count + index] / Double(count)
    }
    return means
  }

  private static func sum(
    _ values: inout [Double], over group: any ProcessGroup
  ) throws(CollectiveError) {
    // The closure of withUnsafe... cannot carry a typed error out, a result can.
    let result = values.withUnsafeMutableBufferPointer {
      buffer -> Result<Void, CollectiveError> in
      do throws(CollectiveError) {
        return .success(try group.allReduceSum(buffer))
      } catch {
        return .failure(error)
      }
    }
    try result.get()
  }
}
