import DataParallel
import Interfaces
import NN
import TensorCore

/// A model without a forward pass: parameters of odd shapes, and gradients that are a function of
/// step and micro-batch alone.
enum ExchangeModel {
  static var tree: ParameterTree {
    let tree = ParameterTree()
    for (name, shape) in shapes { _ = tree.add(name, shape, .xavierUniform(fanIn: 3, fanOut: 3)) }
    return tree
  }

  private static let shapes: [(String, Shape)] = [
    ("patch.weight", [7, 13]), ("patch.bias", [13]), ("mask_token", [1, 1, 5]),
    ("block.norm", [3]), ("block.weight", [61, 97]), ("block.bias", [97]),
    ("mlp.weight", [103, 120]), ("mlp.bias", [120]), ("scale", [1]), ("head.weight", [17, 31]),
    ("head.bias", [31]),
  ]

  /// Which rank is on which host.
  static let layouts: [[Int]] = [
    [0], [0, 0], [0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1], [0, 1, 1, 1, 2], [0, 1], [0, 1, 2], [0, 1, 2, 3],
    [0, 1, 1, 2, 2, 2],
  ]

  /// In bytes: a bucket for each parameter, for a few, for all.
  static let bucketSizes = [64, 8192, 1 << 20]

  /// Steps for which there are gradients.
  static let steps = 3
  static let largestMicroBatches = 24

  /// Gradients of a micro-batch in [-1, 1], with zeros between the parameters.
  static func gradients(step: Int, microBatch: Int) -> [Float] {
    table[step % steps * largestMicroBatches + microBatch]
  }

  private static let table: [[Float]] = (0..<steps * largestMicroBatches).map { row in
    let tree = tree
    var values = [Float](repeating: 0, count: tree.flatCount)
    for entry in tree.entries {
      let offset = entry.parameter.offset
      for index in offset..<offset + entry.parameter.count {
        var hash = UInt64(row << 32 | index) &* 0x9E37_79B9_7F4A_7C15
        hash = (hash ^ hash >> 29) &* 0xBF58_476D_1CE4_E5B9
        values[index] = Float(Int32(truncatingIfNeeded: hash >> 32) >> 8) * 0x1p-23
      }
    }
    return values
  }

  /// In which order parameters get their gradients.
  enum Order: Sendable, CaseIterable {
    /// From the end of the layout, as in most models.
    case backward
    /// The mask token's first contribution is the first of all, and its last one the last.
    case openToTheEnd
    /// Every parameter but one is begun before the first is complete: more than there are slots.
    case allOpen
    /// From the start of the layout.
    case forward
  }

  struct Interruption: Error {}

  /// What a tape does: contributions to the sink, and a word when there are no more.
  ///
  /// - Parameters:
  ///   - skipped: A parameter that is not reached.
  ///   - limit: After so many complete parameters backward fails.
  static func backward(
    _ gradients: [Float], _ tree: ParameterTree, _ order: Order, into sink: any GradientSink,
    skipping skipped: String? = nil, limit: Int? = nil
  ) throws {
    var parameters = tree.entries.map(\.parameter).filter { $0.name != skipped }
    if order != .forward { parameters.reverse() }
    if order == .openToTheEnd, let token = parameters.firstIndex(where: { $0.name == "mask_token" })
    {
      parameters.append(parameters.remove(at: token))
      contribute(gradients, parameters[parameters.count - 1], half: true, to: sink)
    }
    if order == .allOpen {
      for parameter in parameters { contribute(gradients, parameter, half: true, to: sink) }
    }
    for (index, parameter) in parameters.enumerated() {
      if index == limit { throw Interruption() }
      let isOpen =
        order == .allOpen || (order == .openToTheEnd && parameter.name == "mask_token")
      // Twice for some: half of it each time, which is exact.
      let isTwice = isOpen || parameter.index % 3 == 0
      if isTwice, !isOpen { contribute(gradients, parameter, half: true, to: sink) }
      contribute(gradients, parameter, half: isTwice, to: sink)
      sink.didComplete(parameter)
    }
  }

  private static func contribute(
    _ gradients: [Float], _ parameter: Parameter, half: Bool, to sink: any GradientSink
  ) {
    let factor: Float = half ? 0.5 : 1
    sink.accumulate(parameter) { memory, beta in
      for index in 0..<parameter.count {
        let own = factor * gradients[parameter.offset + index]
        // Memory that beta 0 stands for may hold anything, not-a-number too.
        memory[index] = beta == 0 ? own : beta * memory[index] + own
      }
    }
  }
}
