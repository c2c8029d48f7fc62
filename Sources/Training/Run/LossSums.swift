import DataParallel
import Interfaces
import Models
import NN
import TensorCore

/// Losses and scalars summed over micro-batches: summed everywhere, counted globally, divided
/// once. Sums are exact, so they do not depend on the number of ranks.
struct LossSums {
  private var terms_: [(name: String, sum: ExactSum, weight: Double)] = []
  private var scalars_: [(name: String, sum: ExactSum)] = []
  /// What the sums are divided by.
  private var count = 1.0

  var terms: [(name: String, value: Double, weight: Double)] {
    terms_.map { ($0.name, $0.sum.value / count, $0.weight) }
  }

  var scalars: [(name: String, value: Double)] {
    scalars_.map { ($0.name, $0.sum.value / count) }
  }

  /// The weighted objective.
  var total: Double { terms.reduce(0) { $0 + $1.weight * $1.value } }

  /// - Parameter counts: False: only the names are taken.
  mutating func add(_ output: MethodOutput, counts: Bool = true) {
    if terms_.isEmpty {
      terms_ = output.terms.map { ($0.name, ExactSum(), $0.weight) }
      scalars_ = output.scalars.map { ($0.name, ExactSum()) }
    }
    guard counts else { return }
    for (index, term) in output.terms.enumerated() { terms_[index].sum.add(term.loss.value) }
    for (index, scalar) in output.scalars.enumerated() { scalars_[index].sum.add(scalar.value) }
  }

  /// Collective. The mean of `count` micro-batches that the ranks have summed up.
  func mean(over group: any ProcessGroup, count: Int) throws(CollectiveError) -> LossSums {
    let sums = try group.exactSums(terms_.map(\.sum) + scalars_.map(\.sum))
    var means = self
    means.count = Double(count)
    for index in terms_.indices { means.terms_[index].sum = sums[index] }
    for index in scalars_.indices { means.scalars_[index].sum = sums[terms_.count + index] }
    return means
  }
}
