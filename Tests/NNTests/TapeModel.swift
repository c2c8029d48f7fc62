import Interfaces
import NN
import TensorCore
import TestSupport

/// Parameters with values, and a tape on them.
struct TapeModel {
  let tree = ParameterTree()
  let parameters: FlatBuffer
  let gradients: FlatBuffer
  let pool = ThreadPool(threadCount: 2)
  /// One sum from the first backward on.
  let sink: FlatGradientSink

  /// - Parameter shapes: Names and shapes; values are uniform in [-1, 1].
  init(_ shapes: KeyValuePairs<String, Shape> = [:], seed: UInt64 = 1) {
    for (name, shape) in shapes { _ = tree.add(name, shape, .constant(0)) }
    parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
    gradients = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "gradients")
    sink = FlatGradientSink(gradients, for: tree)
    var values = TestValues(seed)
    for entry in tree.entries {
      parameters.pointer(entry.parameter).update(
        from: values.floats(entry.parameter.count), count: entry.parameter.count)
    }
  }

  func tape() -> Tape { Tape(parameters: parameters, pool: pool) }

  subscript(_ name: String) -> Parameter { tree.parameter(named: name)! }

  /// The gradient of a parameter in `gradients`.
  func gradient(_ name: String) -> [Float] { gradients.tensor(self[name]).values }

  func backward(_ tape: Tape, _ loss: ScalarVariable, of inputs: [Variable] = []) -> [Tensor?] {
    tape.backward(from: [(loss.variable, 1)], into: sink, of: inputs)
  }
}
